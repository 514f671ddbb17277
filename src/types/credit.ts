import type { Action } from './trajectory.ts';

/** An action with per-token advantages; `advantages[t]` belongs to `action.tokens[t]`. */
export type CreditedAction = {
  readonly action: Action;
  /** Points/10 of the coach or the outcome: what the method rewards, in [0, 1]. */
  readonly reward: number;
  readonly advantages: Float32Array;
  /** Log-probability of each sampled token under the frozen reference, for losses with a divergence term. */
  readonly referenceLogprobs?: Float32Array;
};
