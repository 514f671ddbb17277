import { BoundaryError } from '../errors.ts';

/**
 * The k1 estimate of the divergence from the reference, per token: k_t = log π(a_t) − log π₀(a_t), in nats.
 *
 * @param logprobs_T of the sampled tokens under the behaviour policy
 * @param reference_T of the same tokens under the frozen reference
 * @throws BoundaryError("credit") when lengths differ or a value is not finite
 * @see Schulman, "Approximating KL divergence", 2020
 */
export function klPenalty(logprobs_T: Float32Array, reference_T: Float32Array): Float64Array {
  if (logprobs_T.length !== reference_T.length) {
    throw new BoundaryError(
      'credit',
      `Expected one reference log-probability per token, got ${reference_T.length} for ${logprobs_T.length} tokens.`,
    );
  }
  return Float64Array.from(logprobs_T, (logprob, token) => {
    const kl = logprob - (reference_T[token] ?? Number.NaN);
    if (Number.isFinite(kl)) return kl;
    throw new BoundaryError(
      'credit',
      `Token ${token} has log-probability ${logprob} and reference ${reference_T[token]}; both must be finite.`,
    );
  });
}
