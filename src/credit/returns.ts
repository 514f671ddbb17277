const REWARD_LIMIT = 10;

/**
 * Token rewards of one action: −β·k_t, and the action's reward on its last token.
 *
 * @param kl_T k1 per token, in nats
 * @param reward of the whole action; clipped to [−10, 10]
 */
export function tokenRewards(
  kl_T: Float64Array,
  reward: number,
  klCoefficient: number,
): Float64Array {
  const clipped = Math.min(REWARD_LIMIT, Math.max(-REWARD_LIMIT, reward));
  return kl_T.map((kl, token) => -klCoefficient * kl + (token === kl_T.length - 1 ? clipped : 0));
}

/** Discounted sum of the rewards to come, within one action: G_t = Σ_{s≥t} γ^{s−t} r_s. */
export function returns(rewards_T: Float64Array, gamma: number): Float64Array {
  const returns_T = new Float64Array(rewards_T.length);
  let ahead = 0;
  for (let token = rewards_T.length - 1; token >= 0; token--) {
    ahead = (rewards_T[token] ?? 0) + gamma * ahead;
    returns_T[token] = ahead;
  }
  return returns_T;
}
