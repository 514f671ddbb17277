import { createRandom, seedFor } from '../random.ts';
import type { ModelConfig } from './model-config.ts';
import { expectedWeights } from './model-folder.ts';
import { convert, full } from './ops.ts';
import { keep, tidy } from './scope.ts';
import {
  type Device,
  type DType,
  elementsOf,
  type Shape,
  type Tensor,
  tensorOf,
} from './tensor.ts';

/**
 * Fresh weights by Hugging Face name: matrices normal with deviation `initializerRange`, norms 1, biases 0. The same seed gives the
 * same weights on every machine. Caller frees.
 */
export function initialWeights(
  config: ModelConfig,
  seed: number,
  placement: { readonly dtype: DType; readonly device: Device },
): Map<string, Tensor> {
  const weights = new Map<string, Tensor>();
  for (const [name, shape] of expectedWeights(config)) {
    weights.set(
      name,
      keep(tidy(() => convert(initialWeight(name, shape, { config, seed }), placement))),
    );
  }
  return weights;
}

function initialWeight(
  name: string,
  shape: Shape,
  { config, seed }: { readonly config: ModelConfig; readonly seed: number },
): Tensor {
  if (name.endsWith('.bias')) return full(shape, 0);
  if (name.endsWith('norm.weight')) return full(shape, 1);
  const values = normalValues(elementsOf(shape), config.initializerRange, seedFor(seed, name));
  return tensorOf(values, shape);
}

/** Box–Muller over our own generator. */
function normalValues(count: number, deviation: number, seed: number): Float32Array {
  const random = createRandom(seed);
  const values = new Float32Array(count);
  for (let index = 0; index < count; index += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - random.uniform()));
    const angle = 2 * Math.PI * random.uniform();
    values[index] = radius * Math.cos(angle);
    if (index + 1 < count) values[index + 1] = radius * Math.sin(angle);
  }
  return values;
}
