import { createRandom, seedFor } from '../random.ts';

/** A mean with its 95 % interval. */
export type Interval = { readonly mean: number; readonly low: number; readonly high: number };

const resamples = 2000;

/**
 * The mean over tasks of each task's mean, with a percentile bootstrap interval over tasks: samples of one task are
 * alike and are drawn together. The same values have the same interval.
 *
 * @param values task id → its values, at least one each
 * @returns undefined without a task
 * @see Efron 1979, doi:10.1214/aos/1176344552
 */
export function bootstrapMean(
  values: ReadonlyMap<string, readonly number[]>,
): Interval | undefined {
  const means = [...values]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([, own]) => meanOf(own));
  if (means.length === 0) return undefined;
  const random = createRandom(seedFor('bootstrap', means.length));
  const drawn = Array.from({ length: resamples }, () =>
    meanOf(means.map(() => means[random.integer(means.length)] ?? 0)),
  ).toSorted((one, other) => one - other);
  const at = (share: number) => drawn[Math.round(share * (resamples - 1))] ?? 0;
  return { mean: meanOf(means), low: at(0.025), high: at(0.975) };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
