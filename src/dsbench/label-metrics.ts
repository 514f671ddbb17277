/** Metrics of one target that is a label; arrays have one entry a row and the same length, at least 1. */
import { mean, type Numbers, ranks } from './regression-metrics.ts';
import { sortedLabels } from './values.ts';

export type Labels = readonly string[];

/** Share of rows whose label is right. */
export function accuracy(truth: Labels, predicted: Labels): number {
  return mean(truth.map((label, row) => (label === predicted[row] ? 1 : 0)));
}

/** The label that counts as positive where there are two: the later one, 1 of 0 and 1. */
function positiveOf(truth: Labels): string {
  const labels = sortedLabels(truth);
  if (labels.length === 1 && (labels[0] === '0' || labels[0] === '1')) return '1';
  return labels.at(-1) ?? '1';
}

type Counts = { readonly hits: number; readonly actual: number; readonly claimed: number };

function countsOf(label: string, truth: Labels, predicted: Labels): Counts {
  let [hits, actual, claimed] = [0, 0, 0];
  for (let row = 0; row < truth.length; row++) {
    const isActual = truth[row] === label;
    const isClaimed = predicted[row] === label;
    if (isActual) actual++;
    if (isClaimed) claimed++;
    if (isActual && isClaimed) hits++;
  }
  return { hits, actual, claimed };
}

/** 0 where nothing is there and nothing was claimed. */
function f1Of({ hits, actual, claimed }: Counts): number {
  return actual + claimed === 0 ? 0 : (2 * hits) / (actual + claimed);
}

/** F1 of the positive label. */
export function f1Binary(truth: Labels, predicted: Labels): number {
  return f1Of(countsOf(positiveOf(truth), truth, predicted));
}

/** Mean F1 of all labels that are there or were predicted. */
export function f1Macro(truth: Labels, predicted: Labels): number {
  const labels = sortedLabels([...truth, ...predicted]);
  return mean(labels.map((label) => f1Of(countsOf(label, truth, predicted))));
}

/** Mean F1 of the labels, each weighted with how often it is there. */
export function f1Weighted(truth: Labels, predicted: Labels): number {
  const counts = sortedLabels(truth).map((label) => countsOf(label, truth, predicted));
  return counts.reduce((sum, count) => sum + f1Of(count) * count.actual, 0) / truth.length;
}

/**
 * Cohen's kappa with quadratic weights over the positions of the labels in their order, as scikit-learn has it.
 * Undefined where there is only one label on both sides.
 */
export function quadraticKappa(truth: Labels, predicted: Labels): number | undefined {
  const labels = sortedLabels([...truth, ...predicted]);
  if (labels.length < 2) return undefined;
  const position = new Map(labels.map((label, index) => [label, index]));
  const at = (label: string | undefined) => position.get(label ?? '') ?? 0;
  const [actual, claimed] = [new Float64Array(labels.length), new Float64Array(labels.length)];
  let observed = 0;
  for (let row = 0; row < truth.length; row++) {
    const [one, other] = [at(truth[row]), at(predicted[row])];
    actual[one] = (actual[one] ?? 0) + 1;
    claimed[other] = (claimed[other] ?? 0) + 1;
    observed += (one - other) ** 2;
  }
  let expected = 0;
  for (let one = 0; one < labels.length; one++)
    for (let other = 0; other < labels.length; other++)
      expected += ((one - other) ** 2 * (actual[one] ?? 0) * (claimed[other] ?? 0)) / truth.length;
  return 1 - observed / expected;
}

/** Area under the ROC curve by ranks, equal scores counting half; undefined unless there are two labels. */
export function rocAuc(truth: Labels, scores: Numbers): number | undefined {
  if (new Set(truth).size !== 2) return undefined;
  const positive = positiveOf(truth);
  const rank = ranks(scores);
  let [positives, sum] = [0, 0];
  for (let row = 0; row < truth.length; row++) {
    if (truth[row] !== positive) continue;
    positives++;
    sum += rank[row] as number;
  }
  const negatives = truth.length - positives;
  return (sum - (positives * (positives + 1)) / 2) / (positives * negatives);
}

const epsilon = Number.EPSILON;

function clipped(probability: number): number {
  return Math.min(1 - epsilon, Math.max(epsilon, probability));
}

/** Mean −log of the probability given to what is there; scores are those of the positive label. */
export function logLoss(truth: Labels, scores: Numbers): number {
  const positive = positiveOf(truth);
  const losses = truth.map((label, row) => {
    const probability = clipped(scores[row] as number);
    return -Math.log(label === positive ? probability : 1 - probability);
  });
  return mean(losses);
}

/** Whether the columns mark one of several classes in every row with 1. */
export function isOneHot(truths: readonly Labels[]): boolean {
  const rows = truths[0]?.length ?? 0;
  const values = truths.every((column) => column.every((cell) => cell === '0' || cell === '1'));
  if (!values) return false;
  return Array.from({ length: rows }, (_, row) =>
    truths.filter((column) => column[row] === '1'),
  ).every((marked) => marked.length === 1);
}

/** The same for one column a class; each row's probabilities are divided by their sum, as Kaggle does. */
export function logLossOfClasses(truths: readonly Labels[], scores: readonly Numbers[]): number {
  const rows = truths[0]?.length ?? 0;
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const total = scores.reduce((all, column) => all + (column[row] as number), 0);
    const right = truths.findIndex((column) => column[row] === '1');
    const probability = total === 0 ? 0 : (scores[right]?.[row] as number) / total;
    sum -= Math.log(clipped(probability));
  }
  return sum / rows;
}

/** Mean of 1/rank of the right label among the first three of a list separated by blanks; 0 where it is not there. */
export function mapAt3(truth: Labels, predicted: Labels): number {
  const points = truth.map((label, row) => {
    const rank = (predicted[row] ?? '').split(/\s+/).slice(0, 3).indexOf(label);
    return rank < 0 ? 0 : 1 / (rank + 1);
  });
  return mean(points);
}

function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().split(/\s+/).filter(Boolean));
}

/** Mean share of words, whatever their case, that two texts have in common; 1 where both have none. */
export function jaccard(truth: Labels, predicted: Labels): number {
  const shares = truth.map((text, row) => {
    const [one, other] = [wordsOf(text), wordsOf(predicted[row] ?? '')];
    const common = [...one].filter((word) => other.has(word)).length;
    const all = one.size + other.size - common;
    return all === 0 ? 1 : common / all;
  });
  return mean(shares);
}
