import {
  correlationStatistic,
  type Estimate,
  estimate,
  meanStatistic,
  ranksOf,
  type Statistic,
} from './estimate.ts';

/** Two verdicts on one action; `group` is the task it was played on. */
export type ScorePair = { readonly group: string; readonly first: number; readonly second: number };

/**
 * How well two coaches agree, points 0 to 10. What does not exist (a correlation of equal scores) is absent.
 * Intervals are of a bootstrap over tasks.
 */
export type Agreement = {
  readonly pairs: number;
  readonly meanFirst?: Estimate;
  readonly meanSecond?: Estimate;
  readonly pearson?: Estimate;
  /** Pearson's correlation of ranks; in the resamples the ranks are those of all pairs. */
  readonly spearman?: Estimate;
  readonly meanAbsoluteDifference?: Estimate;
  /** Cohen's kappa of whole points, weighted by the squared difference: 1 = the same, 0 = as by chance. */
  readonly kappa?: Estimate;
  /** Share of pairs at most one point apart. */
  readonly withinOnePoint?: Estimate;
};

/** @see Cohen 1968, doi:10.1037/h0026256, for kappa */
export function agreementOf(pairs: readonly ScorePair[]): Agreement {
  const first = pairs.map((pair) => pair.first);
  const second = pairs.map((pair) => pair.second);
  const gaps = pairs.map((pair) => Math.abs(pair.first - pair.second));
  const isNear = gaps.map((gap) => (gap <= 1 ? 1 : 0));
  const statistics = estimate(
    pairs.map(({ group }) => group),
    {
      meanFirst: meanStatistic(first),
      meanSecond: meanStatistic(second),
      pearson: correlationStatistic(first, second),
      spearman: correlationStatistic(ranksOf(first), ranksOf(second)),
      meanAbsoluteDifference: meanStatistic(gaps),
      kappa: kappaStatistic(first.map(Math.round), second.map(Math.round)),
      withinOnePoint: meanStatistic(isNear),
    },
  );
  return { pairs: pairs.length, ...statistics };
}

/**
 * 1 − E[(x − y)²] observed / E[(x − y)²] of independent x and y with the same margins; it does not exist where both
 * never vary and agree, so that chance alone explains everything.
 */
function kappaStatistic(first: readonly number[], second: readonly number[]): Statistic {
  const columnOf = (of: (x: number, y: number) => number) =>
    first.map((x, at) => of(x, second[at] as number));
  return {
    columns: [first, second, columnOf((x, y) => x * x + y * y), columnOf((x, y) => (x - y) ** 2)],
    of: ([x = 0, y = 0, squares = 0, observed = 0]) => {
      const chance = squares - 2 * x * y;
      return chance < 1e-12 ? undefined : 1 - observed / chance;
    },
  };
}
