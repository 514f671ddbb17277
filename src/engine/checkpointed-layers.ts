import { BoundaryError } from '../errors.ts';
import { aten } from './aten.ts';
import { backward, gradOf, noGrad, requireGrad, requiresGrad } from './autograd.ts';
import { type Decoder, embedTokens, type Pass, runLayer } from './decoder.ts';
import { tidy } from './scope.ts';
import type { Tensor } from './tensor.ts';

/** A forward pass that keeps nothing but every layer's input. */
export type CheckpointedPass = {
  /** [wanted tokens, hiddenSize], a leaf that collects gradients. */
  readonly hidden: Tensor;
  /** Every layer's input, which `backward` reads. */
  readonly inputs: readonly Tensor[];
  /** Computes every layer again, from the last to the first, and adds gradients to what was trained. */
  readonly backward: () => void;
};

/**
 * Runs all layers without a graph; `backward`, after that of whatever read `hidden`, makes each layer's graph anew. Memory
 * for activations falls from all layers' to one layer's, for one more forward pass.
 *
 * @see Chen et al. 2016, arXiv:1604.06174
 */
export function runLayersCheckpointed(decoder: Decoder, pass: Pass): CheckpointedPass {
  const inputs: Tensor[] = [];
  const last = noGrad(() =>
    decoder.layers.reduce(
      (hidden, _, layer) => {
        inputs.push(hidden);
        return tidy(() => runLayer(decoder, pass, layer, hidden));
      },
      embedTokens(decoder, pass),
    ),
  );
  const hidden = requireGrad(last);
  const walkBack = (): void => {
    let gradient = collectedBy(hidden);
    for (const [layer, input] of [...inputs.entries()].reverse()) {
      const above = gradient;
      gradient = tidy(() => {
        const leaf = requireGrad(aten('detach', input));
        backward(runLayer(decoder, pass, layer, leaf), above);
        return collectedBy(leaf);
      });
      above.dispose();
    }
    if (!requiresGrad(decoder.embedding)) return;
    tidy(() => backward(embedTokens(decoder, pass), gradient));
  };
  return { hidden, inputs, backward: walkBack };
}

function collectedBy(leaf: Tensor): Tensor {
  const gradient = gradOf(leaf);
  if (gradient !== undefined) return gradient;
  throw new BoundaryError('engine', 'a layer was walked back before anything read its output');
}
