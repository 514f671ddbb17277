import { BoundaryError } from '../errors.ts';
import type { CreditedAction } from '../types/credit.ts';
import type { Feedback, Outcome } from '../types/feedback.ts';
import type { Metrics } from '../types/metrics.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import type { Sample } from './estimator.ts';
import { againstCritic, type EstimatorName, estimators } from './estimators.ts';
import { groupBy } from './group-by.ts';
import { klPenalty } from './kl-penalty.ts';
import { spreadOf } from './normalize.ts';
import { coachReward, outcomeReward } from './rewards.ts';

export type CreditOptions = {
  /** Whose word counts: the coach's on every action, the final grade for all actions alike, or the method's `rewards`. */
  readonly credit: 'coach' | 'outcome' | 'method';
  readonly klCoefficient: number;
  readonly gamma: number;
  /** An agent whose rewards have a smaller standard deviation than this gets no gradient in this step. */
  readonly sigmaFloor: number;
  /** Default: `reinforce-plus-plus`. */
  readonly estimator?: EstimatorName;
  /** Of `gae`; default 0.95. */
  readonly lambda?: number;
};

export type CreditInput = {
  readonly trajectories: readonly Trajectory[];
  /** By action id. */
  readonly feedback: ReadonlyMap<string, Feedback>;
  /** By trajectory id. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** By action id: log-probability of each sampled token under the frozen reference. */
  readonly referenceLogprobs: ReadonlyMap<string, Float32Array>;
  /** By action id, where `credit` is `method`; an action that is absent was not scored. */
  readonly rewards?: ReadonlyMap<string, number>;
  /** By action id: what the critic predicted before each token; for `gae`. */
  readonly values?: ReadonlyMap<string, Float32Array>;
  /** By action id: an agent's actions of different kinds are normalised apart. Absent = all together. */
  readonly kinds?: ReadonlyMap<string, string>;
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
  readonly values: Float32Array | undefined;
};

/**
 * Gives every scored action its advantages, each agent's apart from the others'.
 *
 * Actions without a score and trajectories that failed get none and are no part of any statistic; truncated actions
 * train with the low score they earned. Where an agent's rewards (of one kind) do not differ, or only between groups that
 * each agree and are not compared, there is nothing to learn: none of these actions is credited, and `uniform/<agent>`
 * counts it. Normalising would blow the noise of the divergence up to unit variance, and advantages of zero would still let
 * the optimiser's momentum move the policy.
 *
 * Metrics per agent: `reward/`, `kl/` (nats per token), `advantage-std/` (over tokens), `unscored/` (actions),
 * `excluded/` (actions of failed trajectories, and empty ones), `uniform/` (share of its kinds of actions, 0 to 1).
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
  const kinds = groupBy(scored, ({ action }) => input.kinds?.get(action.id) ?? '');
  const credits = [...kinds.values()].map((own) => creditKind(own, options));
  const credited = credits.flat().toSorted((left, right) => {
    return compareTexts(left.action.id, right.action.id);
  });
  const counts = {
    [`unscored/${of.agent}`]: finished.length - scored.length,
    [`excluded/${of.agent}`]: of.actions.length - finished.length,
  };
  if (scored.length === 0) return { credited, metrics: counts };
  const kl = spreadOf(scored.flatMap(({ sample }) => [...sample.kl_T]));
  const advantage = spreadOf(credited.flatMap(({ advantages }) => [...advantages]));
  const metrics = {
    [`reward/${of.agent}`]: spreadOf(scored.map(({ sample }) => sample.reward)).mean,
    [`kl/${of.agent}`]: kl.mean,
    [`advantage-std/${of.agent}`]: advantage.deviation,
    [`uniform/${of.agent}`]: credits.filter(({ length }) => length === 0).length / kinds.size,
    ...counts,
  };
  return { credited, metrics };
}

/** Actions that are compared with one another; none is credited where that tells them apart in nothing. */
function creditKind(scored: readonly Scored[], options: CreditOptions): CreditedAction[] {
  const { deviation } = spreadOf(scored.map(({ sample }) => sample.reward));
  if (scored.length < 2 || deviation <= options.sigmaFloor) return [];
  const how = { ...options, lambda: options.lambda ?? 0.95 };
  const estimate = estimators[options.estimator ?? 'reinforce-plus-plus'];
  const samples = scored.map(({ sample }) => sample);
  const rows = estimate(samples, how);
  if (rows.every((row) => row.every((advantage) => advantage === 0))) return [];
  return rows.map((row, index) => {
    const { action, sample, referenceLogprobs, values } = scored[index] as Scored;
    const advantages = Float32Array.from(row);
    const credited = { action, reward: sample.reward, advantages, referenceLogprobs };
    if (values === undefined) return credited;
    const returns = Float32Array.from(againstCritic(sample, how).returns_T);
    return { ...credited, critic: { values, returns } };
  });
}

function scoredOf(played: Played, options: CreditOptions, input: CreditInput): Scored[] {
  const { action, trajectory } = played;
  const reward = {
    coach: () => coachReward(input.feedback.get(action.id)),
    outcome: () => outcomeReward(input.outcomes.get(trajectory.id)),
    method: () => input.rewards?.get(action.id),
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
  const values = input.values?.get(action.id);
  const critic = values === undefined ? {} : { values_T: values };
  const sample = { group: trajectory.taskId, reward, kl_T, ...critic };
  return [{ action, sample, referenceLogprobs: reference, values }];
}

/** By code unit: the same on every machine, whatever its locale. */
function compareTexts(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
