import { createDecoder, type Decoder } from '../../src/engine/decoder.ts';
import { initialWeights } from '../../src/engine/initial-weights.ts';
import { type Adapter, type AdapterOptions, createAdapter } from '../../src/engine/lora.ts';
import type { ModelConfig } from '../../src/engine/model-config.ts';
import { elementsOf, type Tensor } from '../../src/engine/tensor.ts';
import { createRandom } from '../../src/random.ts';

/** A Qwen3 of two layers with grouped heads, whose width of a head is not the quotient of the sizes. */
export const tinyConfig: ModelConfig = {
  architecture: 'qwen3',
  vocabSize: 96,
  hiddenSize: 64,
  // Above 256, where a product's bits depend on its number of rows unless MKL is strict.
  intermediateSize: 384,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDim: 32,
  maxPositions: 512,
  ropeTheta: 10_000,
  ropeScaling: { kind: 'none' },
  rmsNormEps: 1e-6,
  initializerRange: 0.02,
  tieWordEmbeddings: true,
  attentionBias: false,
  outputBias: false,
  qkNorm: true,
  dtype: 'float32',
  eosTokenIds: [0],
};

/** A random decoder whose weights are large enough for its predictions to differ clearly. Caller frees. */
export function tinyDecoder(changes: Partial<ModelConfig> = {}, seed = 1): Decoder {
  const config = { ...tinyConfig, ...changes };
  const weights = initialWeights(config, seed, { dtype: 'float32', device: 'cpu' });
  const random = createRandom(seed);
  for (const [name, tensor] of weights) {
    if (name.endsWith('_proj.weight')) scramble(tensor, random.uniform, 0.2);
    if (name.endsWith('bias')) scramble(tensor, random.uniform, 0.5);
  }
  return createDecoder(config, weights);
}

/** An adapter that changes something: its B matrices are random. Caller frees. */
export function tinyAdapter(
  decoder: Decoder,
  options: Partial<AdapterOptions> & { readonly seed: number },
): Adapter {
  const adapter = createAdapter(decoder.config, { rank: 4, ...options });
  const random = createRandom(options.seed);
  for (const { b } of adapter.modules.values()) scramble(b, random.uniform, 0.1);
  return adapter;
}

/** Uniform values in ±width. */
function scramble(tensor: Tensor, uniform: () => number, width: number): void {
  const count = elementsOf(tensor.shape);
  tensor.copyFrom(Float32Array.from({ length: count }, () => (2 * uniform() - 1) * width));
}

/** Token ids that differ from seed to seed. */
export function tinyTokens(
  length: number,
  seed: number,
  vocabSize = tinyConfig.vocabSize,
): Int32Array {
  const random = createRandom(seed);
  return Int32Array.from({ length }, () => random.integer(vocabSize));
}
