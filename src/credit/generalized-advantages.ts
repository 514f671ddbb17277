import { BoundaryError } from '../errors.ts';

/** Per token: how much better it did than the critic expected, and what the critic is to learn. */
export type Generalized = { readonly advantages_T: Float64Array; readonly returns_T: Float64Array };

/**
 * Generalised advantage estimation over one action: δ_t = r_t + γ·V_{t+1} − V_t, A_t = δ_t + γ·λ·A_{t+1}, and the return
 * A_t + V_t. After the last token nothing is expected (V = 0): the reward of the action ends it.
 *
 * @param rewards_T of `tokenRewards`
 * @param values_T the critic's prediction before each token
 * @throws BoundaryError("credit") when the lengths differ or a value is not finite
 * @see Schulman et al. 2016, arXiv:1506.02438, eq. 11 and 12
 */
export function generalizedAdvantages(
  rewards_T: Float64Array,
  values_T: ArrayLike<number>,
  { gamma, lambda }: { readonly gamma: number; readonly lambda: number },
): Generalized {
  if (values_T.length !== rewards_T.length) {
    throw new BoundaryError(
      'credit',
      `Expected one value per token, got ${values_T.length} for ${rewards_T.length} tokens.`,
    );
  }
  const advantages_T = new Float64Array(rewards_T.length);
  const returns_T = new Float64Array(rewards_T.length);
  let [nextAdvantage, nextValue] = [0, 0];
  for (let token = rewards_T.length - 1; token >= 0; token--) {
    const value = values_T[token] ?? Number.NaN;
    if (!Number.isFinite(value)) {
      throw new BoundaryError(
        'credit',
        `The critic's value of token ${token} is ${value}; expected a number.`,
      );
    }
    const delta = (rewards_T[token] ?? 0) + gamma * nextValue - value;
    nextAdvantage = delta + gamma * lambda * nextAdvantage;
    nextValue = value;
    advantages_T[token] = nextAdvantage;
    returns_T[token] = nextAdvantage + value;
  }
  return { advantages_T, returns_T };
}
