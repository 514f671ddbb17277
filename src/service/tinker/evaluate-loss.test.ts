import { expect, test } from 'vitest';
import type { Datum } from '../../types/training-service.ts';
import { evaluateLoss } from './evaluate-loss.ts';

test('the estimate of the entropy has, averaged over what is sampled, the slope of the entropy', () => {
  const shares = [0.7, 0.2, 0.1];
  const entropy = -shares.reduce((sum, share) => sum + share * Math.log(share), 0);
  // Every token as often as it is sampled: one datum each, weighted with its probability.
  const data = shares.map(
    (share, token): Datum => ({
      input: Int32Array.of(0),
      target: Int32Array.of(token),
      weights: Float32Array.of(share),
      advantages: Float32Array.of(0),
    }),
  );
  const logprobs = shares.map((share) => Float32Array.of(Math.log(share)));
  const loss = { kind: 'linear', entropyCoefficient: 2 } as const;
  const { slopes, metrics } = evaluateLoss(data, logprobs, loss);
  expect(metrics.loss).toBeCloseTo(-2 * entropy, 5);
  // ∂p_i/∂z_j = δ_ij − π_j for logits z, and ∂(−H)/∂z_j = π_j·(log π_j + H).
  shares.forEach((share, logit) => {
    const slope = shares.reduce((sum, _, token) => {
      return sum + (slopes[token]?.[0] ?? Number.NaN) * ((token === logit ? 1 : 0) - share);
    }, 0);
    expect(slope).toBeCloseTo(2 * share * (Math.log(share) + entropy), 5);
  });
});
