import { createRandom } from '../random.ts';

/** A statistic with its 95 % interval; the interval is absent where there are fewer than two groups to compare. */
export type Estimate = { readonly value: number; readonly low?: number; readonly high?: number };

/** A statistic of weighted items; undefined where it does not exist, for example a correlation of equal values. */
export type Statistic = (weights: readonly number[]) => number | undefined;

const resamples = 1000;
/** Fixed, so that a report of the same run says the same. */
const seed = 1;

/**
 * Every statistic with a percentile bootstrap interval that resamples whole groups, because items of one group (the
 * actions on one task) are alike.
 *
 * @param groups the group of each item; a statistic gets one weight per item, how often it was drawn
 * @see Efron 1979, doi:10.1214/aos/1176344552; cluster bootstrap
 */
export function estimate<Name extends string>(
  groups: readonly string[],
  statistics: Readonly<Record<Name, Statistic>>,
): Partial<Record<Name, Estimate>> {
  const names = Object.keys(statistics) as Name[];
  const drawn = resample(groups);
  const entries = names.flatMap((name) => {
    const value = statistics[name](groups.map(() => 1));
    if (value === undefined) return [];
    const values = drawn.flatMap((weights) => statistics[name](weights) ?? []);
    return [[name, { value, ...intervalOf(values) }] as const];
  });
  return Object.fromEntries(entries) as Partial<Record<Name, Estimate>>;
}

function resample(groups: readonly string[]): readonly (readonly number[])[] {
  const names = [...new Set(groups)];
  if (names.length < 2) return [];
  const index = new Map(names.map((name, at) => [name, at]));
  const random = createRandom(seed);
  return Array.from({ length: resamples }, () => {
    const counts = new Array<number>(names.length).fill(0);
    for (let draw = 0; draw < names.length; draw++) {
      const at = random.integer(names.length);
      counts[at] = (counts[at] as number) + 1;
    }
    return groups.map((name) => counts[index.get(name) as number] as number);
  });
}

function intervalOf(values: readonly number[]): { readonly low?: number; readonly high?: number } {
  // Where a statistic hardly ever exists, its interval would be one of the lucky samples.
  if (values.length < resamples / 2) return {};
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] as number;
  return { low: at(0.025), high: at(0.975) };
}

/** Σ w·x / Σ w; undefined without weight. */
export function meanOf(values: readonly number[], weights: readonly number[]): number | undefined {
  let total = 0;
  let sum = 0;
  for (const [at, value] of values.entries()) {
    total += weights[at] as number;
    sum += value * (weights[at] as number);
  }
  return total === 0 ? undefined : sum / total;
}

/** Pearson's correlation; undefined where either side does not vary. */
export function correlationOf(
  first: readonly number[],
  second: readonly number[],
  weights: readonly number[],
): number | undefined {
  const [meanFirst, meanSecond] = [meanOf(first, weights), meanOf(second, weights)];
  if (meanFirst === undefined || meanSecond === undefined) return undefined;
  let [product, squaresFirst, squaresSecond] = [0, 0, 0];
  for (const [at, value] of first.entries()) {
    const weight = weights[at] as number;
    const [left, right] = [value - meanFirst, (second[at] as number) - meanSecond];
    product += weight * left * right;
    squaresFirst += weight * left * left;
    squaresSecond += weight * right * right;
  }
  const scale = Math.sqrt(squaresFirst * squaresSecond);
  // Equal values may leave a rounding error where zero belongs.
  return scale < 1e-12 ? undefined : product / scale;
}

/** Ranks from 1; equal values share the mean of their places. */
export function ranksOf(values: readonly number[]): number[] {
  const order = values.map((value, at) => ({ value, at })).sort((a, b) => a.value - b.value);
  const ranks = new Array<number>(values.length).fill(0);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end + 1 < order.length && order[end + 1]?.value === order[start]?.value) end++;
    for (let place = start; place <= end; place++) {
      ranks[(order[place] as { at: number }).at] = (start + end) / 2 + 1;
    }
    start = end + 1;
  }
  return ranks;
}
