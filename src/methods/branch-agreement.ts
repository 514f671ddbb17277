import { accuracyOf } from '../run/accuracy.ts';
import {
  correlationStatistic,
  type Estimate,
  estimate,
  meanStatistic,
  ranksOf,
} from '../run/estimate.ts';

/** What the plays that go on from one state of a play came to. */
export type BranchValue = {
  /** Share of graded leaves whose answer was right; absent where none was graded. */
  readonly value?: number;
  /** Wilson's 95 % interval of that share. */
  readonly low?: number;
  readonly high?: number;
  readonly right: number;
  readonly graded: number;
  /** Leaves that broke, or strayed from what they were to replay; they count for nothing. */
  readonly failed: number;
};

/** A scored action, with the value of its play before and after it. */
export type BranchedAction = {
  readonly actionId: string;
  readonly agent: string;
  readonly taskId: string;
  /** The coach's points, 0 to 10, and its words. */
  readonly score: number;
  readonly reason: string;
  /** Whether the play ended with the action: its value is then its play's grade, from one leaf. */
  readonly isLast: boolean;
  readonly before: BranchValue;
  readonly after: BranchValue;
};

/**
 * How well points foretell what an agent's actions led to. What does not exist (a correlation of equal scores) is absent.
 * Intervals are of a bootstrap over tasks.
 */
export type BranchAgreement = {
  /** Actions with a value after them; the rest of this rests on those. */
  readonly actions: number;
  /** Actions all of whose leaves broke or had no grade. */
  readonly unvalued: number;
  /** Mean points, 0 to 10. */
  readonly score?: Estimate;
  /** Mean share of right answers after the action. */
  readonly value?: Estimate;
  /** Pearson's correlation of points and value, and that of their ranks. */
  readonly correlation?: Estimate;
  readonly rankCorrelation?: Estimate;
  /** Share of the values' variance that is not noise of counting few leaves, 0 to 1. */
  readonly reliability?: number;
  /** Mean of value after less value before, over actions that have both. */
  readonly effect?: Estimate;
  readonly effectCorrelation?: Estimate;
};

/** @param leaves one for each play that went on from there: whether its answer was right; undefined = it broke; null = it has no grade */
export function branchValueOf(leaves: readonly (boolean | null | undefined)[]): BranchValue {
  const grades = leaves.filter((leaf) => typeof leaf === 'boolean');
  const failed = leaves.filter((leaf) => leaf === undefined).length;
  const counts = { right: grades.filter(Boolean).length, graded: grades.length, failed };
  // Each leaf as a task of its own: they are independent given the state.
  const share = accuracyOf(grades.map((correct, at) => ({ taskId: String(at), correct })));
  if (share === undefined) return counts;
  return { value: share.accuracy, low: share.low, high: share.high, ...counts };
}

/** By agent, those that have an action here, in the order given. */
export function branchAgreementOf(
  actions: readonly BranchedAction[],
  agents: readonly string[],
): Readonly<Record<string, BranchAgreement>> {
  const byAgent = Map.groupBy(actions, ({ agent }) => agent);
  const agreements = agents.flatMap((agent) => {
    const own = byAgent.get(agent);
    return own === undefined ? [] : [[agent, agreementOf(own)] as const];
  });
  return Object.fromEntries(agreements);
}

function agreementOf(own: readonly BranchedAction[]): BranchAgreement {
  const valued = own.flatMap((action) => {
    const { value } = action.after;
    return value === undefined ? [] : [{ ...action, value }];
  });
  const compared = valued.flatMap((action) => {
    const before = action.before.value;
    return before === undefined ? [] : [{ ...action, effect: action.value - before }];
  });
  const [scores, values] = [valued.map(({ score }) => score), valued.map(({ value }) => value)];
  const effects = compared.map(({ effect }) => effect);
  const reliability = reliabilityOf(valued);
  return {
    ...{ actions: valued.length, unvalued: own.length - valued.length },
    ...estimate(groupsOf(valued), {
      score: meanStatistic(scores),
      value: meanStatistic(values),
      correlation: correlationStatistic(scores, values),
      rankCorrelation: correlationStatistic(ranksOf(scores), ranksOf(values)),
    }),
    ...(reliability === undefined ? {} : { reliability }),
    ...estimate(groupsOf(compared), {
      effect: meanStatistic(effects),
      effectCorrelation: correlationStatistic(
        compared.map(({ score }) => score),
        effects,
      ),
    }),
  };
}

function groupsOf(actions: readonly BranchedAction[]): string[] {
  return actions.map(({ taskId }) => taskId);
}

/**
 * 1 − (mean of v(1−v)/(n−1)) / (variance of the values v), where n leaves gave v: what counting few leaves adds to the
 * variance is taken off. The value of a play that ended is known. Points that foretell the true values perfectly correlate
 * with the measured ones by the root of this.
 *
 * @returns undefined where the values do not vary, or one leaf is all there is of an action that was not the last
 * @see Spearman 1904, doi:10.2307/1412159, for the root
 */
function reliabilityOf(
  valued: readonly (BranchedAction & { readonly value: number })[],
): number | undefined {
  const isUnknown = valued.some(({ isLast, after }) => !isLast && after.graded < 2);
  if (valued.length < 2 || isUnknown) return undefined;
  const noise = valued.map(({ isLast, value, after }) =>
    isLast ? 0 : (value * (1 - value)) / (after.graded - 1),
  );
  const centre = meanOf(valued.map(({ value }) => value));
  const squares = valued.map(({ value }) => (value - centre) ** 2);
  const variance = (meanOf(squares) * valued.length) / (valued.length - 1);
  return variance < 1e-12 ? undefined : Math.max(0, 1 - meanOf(noise) / variance);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The actions whose points are farthest from ten times what they led to, the farthest first; none that agrees. */
export function worstDisagreements(
  actions: readonly BranchedAction[],
  most: number,
): readonly BranchedAction[] {
  return actions
    .flatMap((action) => {
      const { value } = action.after;
      return value === undefined ? [] : [{ action, gap: Math.abs(action.score / 10 - value) }];
    })
    .filter(({ gap }) => gap > 0)
    .toSorted((one, other) => other.gap - one.gap)
    .slice(0, most)
    .map(({ action }) => action);
}
