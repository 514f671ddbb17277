import type { Action } from './trajectory.ts';

/** An action with per-token advantages; `advantages[t]` belongs to `action.tokens[t]`. */
export type CreditedAction = {
  readonly action: Action;
  /** What the method rewards: points/10 of the coach or the outcome, in [0, 1], or what the method made of them. */
  readonly reward: number;
  readonly advantages: Float32Array;
  /** Log-probability of each sampled token under the frozen reference, for losses with a divergence term. */
  readonly referenceLogprobs?: Float32Array;
  /** Where there is a critic: its prediction before each token, and what it is to predict. */
  readonly critic?: { readonly values: Float32Array; readonly returns: Float32Array };
};
