import { assignCredit, type CreditInput, type CreditOptions } from '../credit/assign-credit.ts';
import type { InfluenceOptions } from '../credit/influence-rewards.ts';
import { BoundaryError } from '../errors.ts';
import { correlationStatistic, type Estimate, estimate, meanStatistic } from '../run/estimate.ts';
import type { Run } from '../run/run-store.ts';
import { type RewardSource, rewardDiscussions } from './discussion-rewards.ts';
import { type LeafJudge, leafValueOf } from './malt/leaf-value.ts';
import { recordedValues } from './malt/recorded-values.ts';

/** How a method gives credit to what a run recorded. */
export type RecordedRule = CreditOptions & {
  /** Where `credit` is `method`: how answers of discussions are judged and rewarded. */
  readonly discussion?: InfluenceOptions & Pick<RewardSource, 'grade' | 'isGraded'>;
  /** Where `credit` is `method`: values are backed up from plays' grades, or from the coach's points for their ends. */
  readonly leaves?: LeafJudge;
};

export type RecreditOptions = {
  /** How the run gave credit. */
  readonly first: RecordedRule;
  /** How it is to be given now. */
  readonly second: RecordedRule;
  /** Label of second verdicts to take in place of the first coach's; absent = the first coach's. */
  readonly verdicts?: string;
};

/** How an agent's advantages differ between two ways to give credit; of an action counts the mean over its tokens. */
export type CreditDifference = {
  /** Actions that both credit. */
  readonly actions: number;
  /** Actions that only one of them credits, for want of a score or an outcome. */
  readonly onlyFirst: number;
  readonly onlySecond: number;
  /** Absent where it does not exist; then there is a `note`. */
  readonly correlation?: Estimate;
  /** Share of actions that both push the same way (or both leave alone). */
  readonly signAgreement?: Estimate;
  /** Why there is no correlation. */
  readonly note?: string;
};

type Credited = {
  readonly step: number;
  readonly agent: string;
  readonly group: string;
  readonly first?: number;
  readonly second?: number;
};

/**
 * Derives a finished run's advantages in two ways from what it recorded: verdicts, outcomes and log-probabilities.
 * No model is loaded and nobody is asked.
 *
 * @returns by agent, with intervals of a bootstrap over tasks
 * @throws BoundaryError when the run has no completed step or did not record the reference's log-probabilities
 */
export function compareCredit(
  run: Run,
  options: RecreditOptions,
): Readonly<Record<string, CreditDifference>> {
  refuseUnknownVerdicts(run, options.verdicts);
  const credited = run.completedSteps().flatMap(({ step }) => creditStep(run, step, options));
  if (credited.length === 0) {
    throw new BoundaryError('run', `${run.directory} has no completed step with credited actions`);
  }
  const agents = Map.groupBy(credited, ({ agent }) => agent);
  return Object.fromEntries([...agents].map(([agent, own]) => [agent, differenceOf(own)]));
}

function refuseUnknownVerdicts(run: Run, label: string | undefined): void {
  const known = run.rescores.labels();
  if (label === undefined || known.includes(label)) return;
  throw new BoundaryError(
    'config',
    `${run.directory} has no second verdicts of "${label}" (${known.length === 0 ? 'it has none at all' : `there is ${known.join(', ')}`}): score it with --coach first`,
  );
}

function creditStep(run: Run, step: number, options: RecreditOptions): Credited[] {
  const trajectories = run.trajectoriesOf(step);
  const input = {
    trajectories,
    outcomes: run.outcomesOf(step),
    referenceLogprobs: run.rescores.referencesOf(step),
  };
  if (input.referenceLogprobs.size === 0) {
    if (run.trees.valuesOf(step).size > 0) {
      throw new BoundaryError(
        'run',
        `step ${step} of ${run.directory} was trained on examples and preferences, for which nobody asked the reference for log-probabilities, and credit is reckoned with them: expected a run of policy gradients (mappa, maporl, or malt with method.objective=values)`,
      );
    }
    throw new BoundaryError(
      'run',
      `${run.directory} has no reference log-probabilities of step ${step}: it was written by a teamtune that did not record them, or by a method that needs none`,
    );
  }
  const verdicts = run.feedbackOf(step);
  const second = options.verdicts ? run.rescores.secondOf(options.verdicts, step) : verdicts;
  const before = meanAdvantages(run, options.first, { ...input, feedback: verdicts });
  const after = meanAdvantages(run, options.second, { ...input, feedback: second });
  return trajectories.flatMap(({ taskId, actions }) =>
    actions.flatMap(({ id, agent }) => {
      const [first, now] = [before.get(id), after.get(id)];
      if (first === undefined && now === undefined) return [];
      return {
        ...{ step, agent, group: taskId },
        ...(first === undefined ? {} : { first }),
        ...(now === undefined ? {} : { second: now }),
      };
    }),
  );
}

function meanAdvantages(
  run: Run,
  { discussion, leaves, ...options }: RecordedRule,
  input: CreditInput,
): ReadonlyMap<string, number> {
  const taskOf = (id: string) => run.rescores.task(id);
  const rewarded = discussion && rewardDiscussions({ ...input, ...discussion, taskOf }, discussion);
  const { credited } = assignCredit(options, {
    ...input,
    ...(rewarded && { rewards: rewarded.rewards, kinds: rewarded.kinds }),
    ...(leaves && { rewards: recordedValues(input.trajectories, leafValueOf(leaves, input)) }),
  });
  return new Map(
    credited.map(({ action, advantages }) => {
      const sum = advantages.reduce((total, value) => total + value, 0);
      return [action.id, sum / advantages.length];
    }),
  );
}

function differenceOf(own: readonly Credited[]): CreditDifference {
  const both = own.filter(({ first, second }) => first !== undefined && second !== undefined);
  const first = both.map((one) => one.first as number);
  const second = both.map((one) => one.second as number);
  const isSameSign = first.map((value, at) =>
    Math.sign(value) === Math.sign(second[at] as number) ? 1 : 0,
  );
  const statistics = estimate(
    both.map(({ group }) => group),
    {
      correlation: correlationStatistic(first, second),
      signAgreement: meanStatistic(isSameSign),
    },
  );
  const note = statistics.correlation ? undefined : whyNoCorrelation(own, { first, second });
  return {
    actions: both.length,
    onlyFirst: own.filter((one) => one.second === undefined).length,
    onlySecond: own.filter((one) => one.first === undefined).length,
    ...statistics,
    ...(note === undefined ? {} : { note }),
  };
}

/** @param advantages of the actions that got credit both ways */
function whyNoCorrelation(
  own: readonly Credited[],
  advantages: { readonly first: readonly number[]; readonly second: readonly number[] },
): string {
  const groups = new Set(own.map(({ step, group }) => `${step}/${group}`));
  const why =
    groups.size === own.length
      ? '; no task of a step has two actions of it, so an estimator that compares within a group has nothing to compare'
      : '';
  const both = advantages.first.length;
  if (both < 2) return `${both} of its actions got credit both ways${why}`;
  const isFlat = (values: readonly number[]) => new Set(values).size === 1;
  const whose = isFlat(advantages.second) ? 'derived now' : 'that the run gave';
  const value = (isFlat(advantages.second) ? advantages.second : advantages.first)[0] as number;
  return `the advantages ${whose} are all ${Number(value.toPrecision(3))}${why}`;
}
