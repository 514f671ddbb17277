import { BoundaryError } from '../errors.ts';
import type { CreditedAction } from '../types/credit.ts';
import type { Feedback, Outcome } from '../types/feedback.ts';
import type { Metrics } from '../types/metrics.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import type { Sample } from './estimator.ts';
import { type EstimatorName, estimators } from './estimators.ts';
import { groupBy } from './group-by.ts';
import { klPenalty } from './kl-penalty.ts';
import { spreadOf } from './normalize.ts';
import { coachReward, outcomeReward } from './rewards.ts';

export type CreditOptions = {
  /** Whose word counts: the coach's on every action, or the final grade for all actions alike. */
  readonly credit: 'coach' | 'outcome';
  readonly klCoefficient: number;
  readonly gamma: number;
  /** An agent whose rewards have a smaller standard deviation than this gets no gradient in this step. */
  readonly sigmaFloor: number;
  /** Default: `reinforce-plus-plus`. */
  readonly estimator?: EstimatorName;
};

export type CreditInput = {
  readonly trajectories: readonly Trajectory[];
  /** By action id. */
  readonly feedback: ReadonlyMap<string, Feedback>;
  /** By trajectory id. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** By action id: log-probability of each sampled token under the frozen reference. */
  readonly referenceLogprobs: ReadonlyMap<string, Float32Array>;
};

export type Credit = {
  /** By agent, then by action id, so that the order of arrival changes nothing. */
  readonly credited: readonly CreditedAction[];
  readonly metrics: Metrics;
};

type Played = { readonly action: Action; readonly trajectory: Trajectory };
type Scored = {
  readonly action: Action;
  readonly sample: Sample;
  readonly referenceLogprobs: Float32Array;
};

/**
 * Gives every scored action its advantages, each agent's apart from the others'.
 *
 * Actions without a score and trajectories that failed get none and are no part of any statistic; truncated actions
 * train with the low score they earned. Where an agent's rewards do not differ there is nothing to learn: none of its
 * actions is credited, and `uniform/<agent>` is 1. Normalising would blow the noise of the divergence up to unit
 * variance, and advantages of zero would still let the optimiser's momentum move the policy.
 *
 * Metrics per agent: `reward/`, `kl/` (nats per token), `advantage-std/` (over tokens), `unscored/` (actions),
 * `excluded/` (actions of failed trajectories, and empty ones), `uniform/` (0 or 1).
 *
 * @throws BoundaryError("credit") when an action to be credited has no reference log-probabilities
 */
export function assignCredit(options: CreditOptions, input: CreditInput): Credit {
  const played = input.trajectories.flatMap((trajectory) =>
    trajectory.actions.map((action) => ({ action, trajectory })),
  );
  const byAgent = groupBy(played, ({ action }) => action.agent);
  const credits = [...byAgent]
    .toSorted(([left], [right]) => compareTexts(left, right))
    .map(([agent, actions]) => creditAgent({ agent, actions }, options, input));
  return {
    credited: credits.flatMap((credit) => credit.credited),
    metrics: Object.assign({}, ...credits.map((credit) => credit.metrics)),
  };
}

function creditAgent(
  of: { readonly agent: string; readonly actions: readonly Played[] },
  options: CreditOptions,
  input: CreditInput,
): Credit {
  const finished = of.actions.filter(
    ({ action, trajectory }) => trajectory.failure === undefined && action.tokens.length > 0,
  );
  const scored = finished
    .flatMap((played) => scoredOf(played, options, input))
    .toSorted((left, right) => compareTexts(left.action.id, right.action.id));
  const rewards = spreadOf(scored.map(({ sample }) => sample.reward));
  const isUniform = scored.length < 2 || rewards.deviation <= options.sigmaFloor;
  const advantages = isUniform ? [] : estimate(scored, options);
  const credited = advantages.map((row, index) => {
    const { action, sample, referenceLogprobs } = scored[index] as Scored;
    const advantages_T = Float32Array.from(row);
    return { action, reward: sample.reward, advantages: advantages_T, referenceLogprobs };
  });
  const counts = {
    [`unscored/${of.agent}`]: finished.length - scored.length,
    [`excluded/${of.agent}`]: of.actions.length - finished.length,
  };
  if (scored.length === 0) return { credited, metrics: counts };
  const kl = spreadOf(scored.flatMap(({ sample }) => [...sample.kl_T]));
  const advantage = spreadOf(advantages.flatMap((row) => [...row]));
  const metrics = {
    [`reward/${of.agent}`]: rewards.mean,
    [`kl/${of.agent}`]: kl.mean,
    [`advantage-std/${of.agent}`]: advantage.deviation,
    [`uniform/${of.agent}`]: isUniform ? 1 : 0,
    ...counts,
  };
  return { credited, metrics };
}

function scoredOf(played: Played, options: CreditOptions, input: CreditInput): Scored[] {
  const { action, trajectory } = played;
  const reward = {
    coach: () => coachReward(input.feedback.get(action.id)),
    outcome: () => outcomeReward(input.outcomes.get(trajectory.id)),
  }[options.credit]();
  if (reward === undefined) return [];
  if (!Number.isFinite(reward)) {
    throw new BoundaryError(
      'credit',
      `Action ${action.id} has reward ${reward}; expected a number.`,
    );
  }
  const reference = input.referenceLogprobs.get(action.id);
  if (reference === undefined) {
    throw new BoundaryError(
      'credit',
      `Action ${action.id} of agent ${action.agent} has no reference log-probabilities; compute them for every scored action.`,
    );
  }
  const kl_T = klPenalty(action.logprobs, reference);
  const sample = { group: trajectory.taskId, reward, kl_T };
  return [{ action, sample, referenceLogprobs: reference }];
}

function estimate(scored: readonly Scored[], options: CreditOptions): readonly Float64Array[] {
  const estimator = estimators[options.estimator ?? 'reinforce-plus-plus'];
  return estimator(
    scored.map(({ sample }) => sample),
    options,
  );
}

/** By code unit: the same on every machine, whatever its locale. */
function compareTexts(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
