import type { Estimator } from './estimator.ts';
import { normalize } from './normalize.ts';
import { returns, tokenRewards } from './returns.ts';

/**
 * REINFORCE++: return-to-go of −β·k1 plus the action's reward, normalised over all tokens of the agent.
 *
 * One true normalisation over the whole batch, where the reference normalises each rank's half first.
 *
 * @param samples of ONE agent; agents never share statistics
 * @returns advantages per token
 * @see Hu 2025, arXiv:2501.03262
 */
export const reinforcePlusPlus: Estimator = (samples, options) =>
  normalize(
    samples.map(({ kl_T, reward }) =>
      returns(tokenRewards(kl_T, reward, options.klCoefficient), options.gamma),
    ),
  );
