import type { TableTask } from '../types/task.ts';
import type { TableGrade } from './grade-table.ts';
import { accuracy, f1Binary, f1Weighted, isOneHot, type Labels } from './label-metrics.ts';
import { type Metric, metricNamed, metrics, type TargetColumn } from './metrics.ts';
import { mean, rmse } from './regression-metrics.ts';
import { canonicalLabel, parseNumber, sortedLabels } from './values.ts';

/** What a play without a usable submission counts as, so that failing is never better than not being counted. */
export type Fallbacks = {
  /** A share, or that of the commonest label. */
  readonly accuracy: number | 'majority';
  readonly f1: number;
  /** Percent of the target's range, or what predicting the mean would have. */
  readonly rmsePercent: number | 'mean';
};

/** The same three for tasks of every competition; which there are depends on the kind of task. */
export type FairMetrics = Readonly<
  Partial<Record<'fair-accuracy' | 'fair-f1' | 'fair-rmse-percent', number>>
>;

/**
 * MAPPA's fair metrics of one play: accuracy and F1 of the predicted labels, or the RMSE in percent of the target's range,
 * each the mean over target columns; of a play that failed, the fallbacks.
 *
 * Probabilities become the label they favour, rankings their first. F1 is that of the later label where there are two,
 * else weighted.
 *
 * @param truths target columns as the answers have them, for fallbacks that depend on them
 */
export function fairMetrics(
  grade: TableGrade,
  { kind, metric }: Pick<TableTask, 'kind' | 'metric'>,
  truths: readonly Labels[],
  fallbacks: Fallbacks,
): FairMetrics {
  const columns = grade.success ? grade.columns : undefined;
  switch (kind) {
    case 'classification':
      return fairLabels(
        columns && labelled(columns, metrics[metricNamed(metric)]),
        truths,
        fallbacks,
      );
    case 'regression':
      return fairErrors(columns, truths, fallbacks);
    case 'extraction':
      return {};
  }
}

function fairLabels(
  columns: readonly TargetColumn[] | undefined,
  truths: readonly Labels[],
  fallbacks: Fallbacks,
): FairMetrics {
  if (columns === undefined) {
    const chance = fallbacks.accuracy === 'majority' ? majorityShare(truths) : fallbacks.accuracy;
    return { 'fair-accuracy': chance, 'fair-f1': fallbacks.f1 };
  }
  const f1Of = ({ truth, predicted }: TargetColumn) =>
    (new Set(truth).size > 2 ? f1Weighted : f1Binary)(truth, predicted);
  return {
    'fair-accuracy': mean(columns.map(({ truth, predicted }) => accuracy(truth, predicted))),
    'fair-f1': mean(columns.map(f1Of)),
  };
}

function majorityShare(truths: readonly Labels[]): number {
  const shareOf = (truth: Labels) => {
    const counts = Map.groupBy(truth, canonicalLabel);
    return Math.max(...[...counts.values()].map(({ length }) => length)) / truth.length;
  };
  if (truths.length > 1 && isOneHot(truths)) return Math.max(...truths.map(shareOfOnes));
  return mean(truths.map(shareOf));
}

function shareOfOnes(truth: Labels): number {
  return mean(truth.map((cell) => (canonicalLabel(cell) === '1' ? 1 : 0)));
}

/** Predictions of any kind as the labels they favour. */
function labelled(columns: readonly TargetColumn[], { predicted }: Metric): TargetColumn[] {
  if (predicted === 'label' || predicted === 'text') return [...columns];
  if (predicted === 'ranking') return columns.map(firstOfRanking);
  const truths = columns.map(({ truth }) => truth);
  return columns.length > 1 && isOneHot(truths) ? [likeliest(columns)] : columns.map(rounded);
}

function firstOfRanking({ truth, predicted }: TargetColumn): TargetColumn {
  return { truth, predicted: predicted.map((ranking) => ranking.split(' ')[0] ?? '') };
}

function rounded({ truth, predicted }: TargetColumn): TargetColumn {
  const labels = sortedLabels(truth);
  const [negative = '0', positive = '1'] = labels.length === 2 ? labels : ['0', '1'];
  return {
    truth,
    predicted: predicted.map((score) => (Number(score) < 0.5 ? negative : positive)),
  };
}

/** One column a class → the class of each row, by its position. */
function likeliest(columns: readonly TargetColumn[]): TargetColumn {
  const highest = (scores: readonly number[]) => String(scores.indexOf(Math.max(...scores)));
  const rows = columns[0]?.truth.map((_, row) => row) ?? [];
  return {
    truth: rows.map((row) => highest(columns.map(({ truth }) => Number(truth[row])))),
    predicted: rows.map((row) => highest(columns.map(({ predicted }) => Number(predicted[row])))),
  };
}

/** Absent where the answers are no numbers, or all the same; an error too large to be a number counts as a failure. */
function fairErrors(
  columns: readonly TargetColumn[] | undefined,
  truths: readonly Labels[],
  { rmsePercent }: Fallbacks,
): FairMetrics {
  const ofMean = percentOfRange(truths);
  const value = columns === undefined ? Number.NaN : percentOfRange(truths, columns);
  if (Number.isFinite(value)) return { 'fair-rmse-percent': value };
  if (columns !== undefined && !Number.isFinite(ofMean)) return {};
  const fallback = rmsePercent === 'mean' ? ofMean : rmsePercent;
  return Number.isFinite(fallback) ? { 'fair-rmse-percent': fallback } : {};
}

/**
 * RMSE in percent of the target's range, the mean over targets; not finite where they are no numbers or all the same.
 *
 * @param columns what was predicted; absent = the mean of each target
 */
function percentOfRange(truths: readonly Labels[], columns?: readonly TargetColumn[]): number {
  const errors = truths.map((cells, index) => {
    const truth = numbersOf(cells);
    const centre = mean(truth);
    const predicted =
      columns === undefined ? truth.map(() => centre) : numbersOf(columns[index]?.predicted ?? []);
    const [least, most] = truth.reduce(
      ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
      [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY] as [number, number],
    );
    return (100 * rmse(truth, predicted)) / (most - least);
  });
  return mean(errors);
}

function numbersOf(cells: Labels): Float64Array {
  return Float64Array.from(cells, (cell) => parseNumber(cell) ?? Number.NaN);
}
