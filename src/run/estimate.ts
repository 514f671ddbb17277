import { createRandom } from '../random.ts';

/** A value with its 95 % interval; the interval is absent where there are fewer than two groups to compare. */
export type Estimate = { readonly value: number; readonly low?: number; readonly high?: number };

/**
 * A statistic that is a function of the means of some columns, one number per item in each. So a resample of whole
 * groups costs a sum over groups, however many items there are.
 */
export type Statistic = {
  readonly columns: readonly (readonly number[])[];
  /** Undefined where it does not exist, for example a correlation of equal values. */
  readonly of: (means: readonly number[]) => number | undefined;
};

const resamples = 1000;
/** Fixed, so that a report of the same run says the same. */
const seed = 1;

/**
 * Every statistic with a percentile bootstrap interval that resamples whole groups, because items of one group (the
 * actions on one task) are alike.
 *
 * @param groups the group of each item
 * @see Efron 1979, doi:10.1214/aos/1176344552
 */
export function estimate<Name extends string>(
  groups: readonly string[],
  statistics: Readonly<Record<Name, Statistic>>,
): Partial<Record<Name, Estimate>> {
  const names = [...new Set(groups)];
  const index = new Map(names.map((name, at) => [name, at]));
  const places = groups.map((name) => index.get(name) as number);
  const entries = (Object.keys(statistics) as Name[]).flatMap((name) => {
    const found = estimateOne(statistics[name], places, names.length);
    return found === undefined ? [] : [[name, found] as const];
  });
  return Object.fromEntries(entries) as Partial<Record<Name, Estimate>>;
}

function estimateOne(
  { columns, of }: Statistic,
  places: readonly number[],
  groupCount: number,
): Estimate | undefined {
  const sums = [places.map(() => 1), ...columns].map((column) =>
    groupSums(column, places, groupCount),
  );
  const valueUnder = (weights: Float64Array) => {
    const [total = 0, ...rest] = sums.map((column) => weightedSum(column, weights));
    return total === 0 ? undefined : of(rest.map((sum) => sum / total));
  };
  const value = valueUnder(new Float64Array(groupCount).fill(1));
  if (value === undefined) return undefined;
  const drawn: number[] = [];
  for (const weights of resample(groupCount)) {
    const again = valueUnder(weights);
    if (again !== undefined) drawn.push(again);
  }
  return { value, ...intervalOf(drawn) };
}

function groupSums(
  column: readonly number[],
  places: readonly number[],
  groupCount: number,
): Float64Array {
  const sums = new Float64Array(groupCount);
  for (const [item, place] of places.entries()) {
    sums[place] = (sums[place] as number) + (column[item] as number);
  }
  return sums;
}

function weightedSum(column: Float64Array, weights: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < column.length; at++)
    sum += (column[at] as number) * (weights[at] as number);
  return sum;
}

/** How often each group was drawn, in one resample after another; the array is used again. */
function* resample(groupCount: number): Generator<Float64Array> {
  if (groupCount < 2) return;
  const random = createRandom(seed);
  const counts = new Float64Array(groupCount);
  for (let done = 0; done < resamples; done++) {
    counts.fill(0);
    for (let draw = 0; draw < groupCount; draw++) {
      const at = random.integer(groupCount);
      counts[at] = (counts[at] as number) + 1;
    }
    yield counts;
  }
}

function intervalOf(values: readonly number[]): { readonly low?: number; readonly high?: number } {
  // Where a statistic hardly ever exists, its interval would be one of the lucky samples.
  if (values.length < resamples / 2) return {};
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] as number;
  return { low: at(0.025), high: at(0.975) };
}

export function meanStatistic(values: readonly number[]): Statistic {
  return { columns: [values], of: ([mean]) => mean };
}

/** Pearson's correlation; it does not exist where either side does not vary. */
export function correlationStatistic(
  first: readonly number[],
  second: readonly number[],
): Statistic {
  // Around the means, so that sums of squares do not drown small differences.
  const [left, right] = [centred(first), centred(second)];
  const products = (a: readonly number[], b: readonly number[]) =>
    a.map((value, at) => value * (b[at] as number));
  return {
    columns: [left, right, products(left, left), products(right, right), products(left, right)],
    of: ([x = 0, y = 0, xx = 0, yy = 0, xy = 0]) => {
      const scale = Math.sqrt(Math.max(0, xx - x * x) * Math.max(0, yy - y * y));
      return scale < 1e-12 ? undefined : (xy - x * y) / scale;
    },
  };
}

function centred(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return values.map((value) => value - mean);
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
