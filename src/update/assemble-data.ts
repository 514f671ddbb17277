import type { CreditedAction } from '../types/credit.ts';
import type { Datum } from '../types/training-service.ts';
import type { Action } from '../types/trajectory.ts';

/** How a mini-batch's token losses are averaged: every token equal, or every action equal. */
export type LossAverage = 'token' | 'action';

/**
 * An action as one training row: the sampled tokens are predicted from all that came before them, and nothing of the
 * observation is trained. Token ids and log-probabilities are the sampler's own.
 *
 * @returns arrays of length observation + tokens − 1; the first sampled token sits at index observation.length − 1
 */
export function datumOf(action: Action): Datum {
  const { observation, tokens, logprobs } = action;
  const first = observation.length - 1;
  const length = observation.length + tokens.length - 1;
  const input = new Int32Array(length);
  input.set(observation);
  input.set(tokens.subarray(0, -1), observation.length);
  const target = new Int32Array(length);
  target.set(observation.subarray(1));
  target.set(tokens, first);
  const oldLogprobs = new Float32Array(length);
  oldLogprobs.set(logprobs, first);
  const weights = new Float32Array(length).fill(1, first);
  return { input, target, weights, oldLogprobs };
}

/** The entries of a per-target array that belong to the action's own tokens. */
export function actionPart(action: Action, perTarget: Float32Array): Float32Array {
  return perTarget.subarray(action.observation.length - 1);
}

/**
 * Of each token the logarithm of how often it would have been drawn from the policy itself for each time it was drawn, in
 * nats; 0 where the policy itself was sampled. The ratio, truncated, is the token's weight; the loss's own ratio then
 * measures from the policy, so that it starts at 1.
 *
 * @param current log-probabilities under the policy as it is now; absent = the policy that was sampled has not moved
 * @see Hilton et al. 2022, arXiv:2110.00641 (behaviour and proximal policy apart), truncated as in Espeholt et al. 2018
 */
export function behaviourLogRatios(
  { logprobs, behaviourLogprobs = logprobs }: Action,
  current: Float32Array = logprobs,
): Float64Array {
  return Float64Array.from(current, (logprob, token) => {
    return logprob - (behaviourLogprobs[token] ?? logprob);
  });
}

/** A per-token array of an action at the places of its datum. */
function aligned(action: Action, perToken: Float32Array): Float32Array {
  const array = new Float32Array(action.observation.length + action.tokens.length - 1);
  array.set(perToken, action.observation.length - 1);
  return array;
}

/**
 * Rows of one mini-batch for the loss of a critic: half the mean squared error over the tokens, times `coefficient`.
 * Actions without a critic's values have none.
 */
export function assembleCriticData(
  credited: readonly CreditedAction[],
  coefficient: number,
): Datum[] {
  const judged = credited.filter(({ critic }) => critic !== undefined);
  const tokens = judged.reduce((sum, { action }) => sum + action.tokens.length, 0);
  return judged.flatMap(({ action, critic }) => {
    if (critic === undefined) return [];
    const { input, target } = datumOf(action);
    return {
      ...{ input, target },
      weights: aligned(
        action,
        action.logprobs.map(() => coefficient / tokens),
      ),
      returns: aligned(action, critic.returns),
      oldValues: aligned(action, critic.values),
    };
  });
}

/**
 * Rows of one mini-batch for a policy-gradient loss. An engine sums over tokens, so the average is in the weights:
 * 1/(tokens of the mini-batch) for `token`, 1/(actions × tokens of the action) for `action`; they also hold the ratio
 * between the policy and the distribution that was sampled, at most `behaviourRatioLimit`.
 *
 * @param options.current log-probabilities under the policy as it is now, by action id, where it has moved since it was
 *   sampled: the loss's ratio is then measured from these
 */
export function assembleData(
  credited: readonly CreditedAction[],
  {
    average,
    behaviourRatioLimit,
    current,
  }: {
    readonly average: LossAverage;
    readonly behaviourRatioLimit: number;
    readonly current?: ReadonlyMap<string, Float32Array> | undefined;
  },
): Datum[] {
  const tokens = credited.reduce((sum, { action }) => sum + action.tokens.length, 0);
  return credited.map(({ action, advantages, referenceLogprobs }) => {
    const datum = datumOf(action);
    const divisor = average === 'token' ? tokens : credited.length * action.tokens.length;
    const now = current?.get(action.id);
    return {
      ...datum,
      ...(now && { oldLogprobs: aligned(action, now) }),
      weights: aligned(
        action,
        Float32Array.from(behaviourLogRatios(action, now), (logRatio) =>
          Math.min(Math.exp(logRatio), behaviourRatioLimit),
        ).map((ratio) => ratio / divisor),
      ),
      advantages: aligned(action, advantages),
      ...(referenceLogprobs && { referenceLogprobs: aligned(action, referenceLogprobs) }),
    };
  });
}
