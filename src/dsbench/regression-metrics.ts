/** Metrics of one numeric target; arrays have one entry a row and the same length, at least 1. */

export type Numbers = Float64Array;

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let row = 0; row < values.length; row++) sum += values[row] as number;
  return sum / values.length;
}

function meanOver(truth: Numbers, predicted: Numbers, term: (t: number, p: number) => number) {
  let sum = 0;
  for (let row = 0; row < truth.length; row++)
    sum += term(truth[row] as number, predicted[row] as number);
  return sum / truth.length;
}

/** Root of the mean squared error. */
export function rmse(truth: Numbers, predicted: Numbers): number {
  return Math.sqrt(meanOver(truth, predicted, (t, p) => (t - p) ** 2));
}

/** Root of the mean squared difference of log(1 + x); nothing may be below 0. */
export function rmsle(truth: Numbers, predicted: Numbers): number {
  return Math.sqrt(meanOver(truth, predicted, (t, p) => (Math.log1p(t) - Math.log1p(p)) ** 2));
}

/** Mean absolute error. */
export function mae(truth: Numbers, predicted: Numbers): number {
  return meanOver(truth, predicted, (t, p) => Math.abs(t - p));
}

/** Symmetric mean absolute percentage error, 0 to 200; a row where both are 0 counts as 0. */
export function smape(truth: Numbers, predicted: Numbers): number {
  const term = (t: number, p: number) =>
    t === p ? 0 : Math.abs(t - p) / (Math.abs(t) + Math.abs(p));
  return 200 * meanOver(truth, predicted, term);
}

/** Median absolute error. */
export function medae(truth: Numbers, predicted: Numbers): number {
  const errors = truth.map((value, row) => Math.abs(value - (predicted[row] as number))).sort();
  const middle = Math.floor(errors.length / 2);
  const upper = errors[middle] as number;
  return errors.length % 2 === 1 ? upper : (upper + (errors[middle - 1] as number)) / 2;
}

/**
 * Coefficient of determination. A constant truth has none: 1 where it is met exactly and 0 otherwise, as scikit-learn
 * has it; undefined for a single row.
 */
export function r2(truth: Numbers, predicted: Numbers): number | undefined {
  if (truth.length < 2) return undefined;
  const centre = mean(truth);
  const residual = meanOver(truth, predicted, (t, p) => (t - p) ** 2);
  const total = mean(truth.map((value) => (value - centre) ** 2));
  if (total === 0) return residual === 0 ? 1 : 0;
  return 1 - residual / total;
}

/** Pearson's correlation; undefined where one side is constant. */
export function pearson(truth: Numbers, predicted: Numbers): number | undefined {
  const [centre, other] = [mean(truth), mean(predicted)];
  const [mine, theirs] = [
    truth.map((value) => value - centre),
    predicted.map((value) => value - other),
  ];
  const spread = Math.sqrt(
    meanOver(mine, mine, (a, b) => a * b) * meanOver(theirs, theirs, (a, b) => a * b),
  );
  if (isConstant(truth) || isConstant(predicted) || spread === 0) return undefined;
  // Over infinity, any covariance would be 0.
  if (!Number.isFinite(spread)) return Number.NaN;
  const correlation = meanOver(mine, theirs, (a, b) => a * b) / spread;
  return Math.max(-1, Math.min(1, correlation));
}

/** Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank. */
export function spearman(truth: Numbers, predicted: Numbers): number | undefined {
  return pearson(ranks(truth), ranks(predicted));
}

function isConstant(values: Numbers): boolean {
  return values.every((value) => value === values[0]);
}

/** The rows' positions in order of their values. */
function ascending(values: Numbers): Uint32Array {
  const rows = Uint32Array.from(values, (_, row) => row);
  return rows.sort((a, b) => (values[a] as number) - (values[b] as number));
}

/** Ranks from 1; equal values share their mean rank. */
export function ranks(values: Numbers): Numbers {
  const order = ascending(values);
  const result = new Float64Array(values.length);
  for (let first = 0; first < order.length; ) {
    const value = values[order[first] as number];
    let last = first;
    while (last + 1 < order.length && values[order[last + 1] as number] === value) last++;
    for (let at = first; at <= last; at++) result[order[at] as number] = (first + last) / 2 + 1;
    first = last + 1;
  }
  return result;
}

/**
 * Gini coefficient of the truth in the order of the predictions, over that in its own order; 2·AUC − 1 for a truth of 0
 * and 1. Rows with equal predictions count as their mean over all orders, so the order of the file does not matter.
 * Undefined where the truth is constant.
 *
 * @see the metric of Kaggle's Porto Seguro competition, which breaks ties by the rows' order
 */
export function normalizedGini(truth: Numbers, predicted: Numbers): number | undefined {
  if (isConstant(truth)) return undefined;
  return gini(truth, predicted) / gini(truth, truth);
}

function gini(truth: Numbers, predicted: Numbers): number {
  const count = truth.length;
  const order = ascending(predicted).reverse();
  const total = truth.reduce((sum, value) => sum + value, 0);
  let before = 0;
  let area = 0;
  for (let first = 0; first < count; ) {
    const value = predicted[order[first] as number];
    let size = 0;
    let sum = 0;
    while (first + size < count && predicted[order[first + size] as number] === value) {
      sum += truth[order[first + size] as number] as number;
      size++;
    }
    area += size * before + (sum * (size + 1)) / 2;
    before += sum;
    first += size;
  }
  // Times the total, which the ratio of two of these does not know.
  return area / count - (total * (count + 1)) / (2 * count);
}
