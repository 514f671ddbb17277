import { closest, distance } from 'fastest-levenshtein';
import { BoundaryError } from '../errors.ts';
import {
  accuracy,
  f1Binary,
  f1Macro,
  f1Weighted,
  isOneHot,
  jaccard,
  type Labels,
  logLoss,
  logLossOfClasses,
  mapAt3,
  quadraticKappa,
  rocAuc,
} from './label-metrics.ts';
import {
  mae,
  medae,
  type Numbers,
  normalizedGini,
  pearson,
  r2,
  rmse,
  rmsle,
  smape,
  spearman,
} from './regression-metrics.ts';

/** What a prediction must be: `score` is any number, `count` one that is not negative, `ranking` labels best first. */
export type PredictedKind =
  | 'number'
  | 'count'
  | 'score'
  | 'probability'
  | 'label'
  | 'ranking'
  | 'text';

/** How one target column is measured; `undefined` where the metric has no value, for example of a constant. */
type Measure =
  | {
      readonly reads: 'numbers';
      readonly of: (truth: Numbers, predicted: Numbers) => number | undefined;
    }
  | {
      readonly reads: 'scores';
      readonly of: (truth: Labels, scores: Numbers) => number | undefined;
    }
  | {
      readonly reads: 'labels';
      readonly of: (truth: Labels, predicted: Labels) => number | undefined;
    };

/** A competition's metric. Several target columns count equally: its value is the mean of theirs. */
export type Metric = {
  readonly better: 'higher' | 'lower';
  readonly predicted: PredictedKind;
  readonly measure: Measure;
  /** Where that is not so, the metric has no value. */
  readonly needs?: string;
};

type Rest = Partial<Pick<Metric, 'predicted' | 'needs'>>;

const numbers = (
  better: Metric['better'],
  of: (truth: Numbers, predicted: Numbers) => number | undefined,
  rest: Rest = {},
): Metric => ({ better, predicted: 'number', measure: { reads: 'numbers', of }, ...rest });

const labels = (
  of: (truth: Labels, predicted: Labels) => number | undefined,
  rest: Rest = {},
): Metric => ({ better: 'higher', predicted: 'label', measure: { reads: 'labels', of }, ...rest });

/** A metric of one label against the other, which has no value where there are more. */
const ofTwo =
  <Predicted>(of: (truth: Labels, predicted: Predicted) => number) =>
  (truth: Labels, predicted: Predicted) =>
    new Set(truth).size > 2 ? undefined : of(truth, predicted);

const atMostTwo = { needs: 'at most two labels in each target column of the answer' };
const varied = { needs: 'targets and predictions that are not constant' };

/** Every metric that DSBench's cleaned prompts name, and some more of their families. */
export const metrics = {
  roc_auc: {
    better: 'higher',
    predicted: 'score',
    measure: { reads: 'scores', of: rocAuc },
    needs: 'exactly two labels in each target column of the answer',
  },
  log_loss: {
    better: 'lower',
    predicted: 'probability',
    measure: { reads: 'scores', of: ofTwo(logLoss) },
    ...atMostTwo,
  },
  accuracy: labels(accuracy),
  f1: labels(ofTwo(f1Binary), atMostTwo),
  // Over all decisions together, F1 is the accuracy where every row has one label.
  f1_micro: labels(accuracy),
  f1_macro: labels(f1Macro),
  f1_weighted: labels(f1Weighted),
  quadratic_weighted_kappa: labels(quadraticKappa, { needs: 'at least two labels' }),
  map_at_3: labels(mapAt3, { predicted: 'ranking' }),
  jaccard: labels(jaccard, { predicted: 'text' }),
  rmse: numbers('lower', rmse),
  mcrmse: numbers('lower', rmse),
  rmsle: numbers('lower', rmsle, { predicted: 'count' }),
  mae: numbers('lower', mae),
  medae: numbers('lower', medae),
  smape: numbers('lower', smape),
  r2: numbers('higher', r2, { needs: 'at least two rows' }),
  pearson: numbers('higher', pearson, varied),
  spearman: numbers('higher', spearman, varied),
  normalized_gini: numbers('higher', normalizedGini, { needs: 'an answer that is not constant' }),
} as const satisfies Readonly<Record<string, Metric>>;

export type MetricName = keyof typeof metrics;

/** Other names for the same. */
const aliases: Readonly<Record<string, MetricName>> = {
  qwk: 'quadratic_weighted_kappa',
  f1_binary: 'f1',
  auc: 'roc_auc',
  'map@3': 'map_at_3',
  normalised_gini: 'normalized_gini',
};

/** @throws BoundaryError("config") naming the nearest metric there is */
export function metricNamed(text: string): MetricName {
  const wanted = text.trim().toLowerCase();
  const alias = Object.hasOwn(aliases, wanted) ? aliases[wanted] : undefined;
  const names = Object.keys(metrics) as MetricName[];
  const found = alias ?? names.find((name) => name === wanted);
  if (found !== undefined) return found;
  const nearest = closest(wanted, names);
  const hint = distance(wanted, nearest) <= 3 ? `; did you mean ${nearest}?` : '';
  throw new BoundaryError(
    'config',
    `there is no metric ${text}: expected one of ${names.join(', ')}${hint}`,
  );
}

/** One target of every row, as text in one writing: truth beside prediction. */
export type TargetColumn = { readonly truth: Labels; readonly predicted: Labels };

function toNumbers(cells: Labels): Numbers {
  return Float64Array.from(cells, Number);
}

/**
 * The metric's value over all target columns.
 *
 * @param columns at least one, of at least one row, every cell what the metric reads
 * @returns undefined where a column has no value
 */
export function measure(name: MetricName, columns: readonly TargetColumn[]): number | undefined {
  if (name === 'log_loss' && columns.length > 1 && isOneHot(columns.map(({ truth }) => truth))) {
    const scores = columns.map(({ predicted }) => toNumbers(predicted));
    return logLossOfClasses(
      columns.map(({ truth }) => truth),
      scores,
    );
  }
  const { measure: how }: Metric = metrics[name];
  let sum = 0;
  for (const column of columns) {
    const value = measureColumn(how, column);
    if (value === undefined) return undefined;
    sum += value;
  }
  return sum / columns.length;
}

function measureColumn(how: Measure, { truth, predicted }: TargetColumn): number | undefined {
  switch (how.reads) {
    case 'numbers':
      return how.of(toNumbers(truth), toNumbers(predicted));
    case 'scores':
      return how.of(truth, toNumbers(predicted));
    case 'labels':
      return how.of(truth, predicted);
  }
}
