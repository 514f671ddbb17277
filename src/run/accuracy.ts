/** One graded play of an evaluation. */
export type GradedSample = { readonly taskId: string; readonly correct: boolean };

/** A share with its 95 % interval; all in [0, 1]. */
export type Accuracy = {
  readonly accuracy: number;
  readonly low: number;
  readonly high: number;
  readonly tasks: number;
  readonly samples: number;
};

/** Two-sided 95 % quantile of the normal distribution. */
const quantile = 1.959964;

/**
 * Mean accuracy over tasks, with a 95 % interval that knows that samples of one task are alike.
 *
 * Wilson's interval with an effective number of samples n = p(1−p)/s², where s² is the variance of the mean over
 * tasks. n stays between the number of tasks (samples of a task all agree) and the number of samples (none do).
 *
 * @returns undefined when nothing was graded
 * @see Wilson 1927, JASA 22(158), doi:10.1080/01621459.1927.10502953
 */
export function accuracyOf(samples: readonly GradedSample[]): Accuracy | undefined {
  const means = [...meansByTask(samples).values()];
  if (means.length === 0) return undefined;
  const accuracy = mean(means);
  const variance = varianceOfMean(means);
  const binomial = accuracy * (1 - accuracy);
  const effective = variance === undefined || binomial === 0 ? means.length : binomial / variance;
  const count = Math.min(Math.max(effective, means.length), samples.length);
  return { accuracy, ...wilson(accuracy, count), tasks: means.length, samples: samples.length };
}

/**
 * Difference of two accuracies on the tasks that both played, paired task by task, with its 95 % interval.
 *
 * @returns shares in [−1, 1]; undefined when fewer than two tasks are in both
 */
export function gainBetween(
  before: readonly GradedSample[],
  after: readonly GradedSample[],
): { readonly gain: number; readonly low: number; readonly high: number } | undefined {
  const earlier = meansByTask(before);
  const differences: number[] = [];
  for (const [taskId, later] of meansByTask(after)) {
    const former = earlier.get(taskId);
    if (former !== undefined) differences.push(later - former);
  }
  const variance = varianceOfMean(differences);
  if (variance === undefined) return undefined;
  const gain = mean(differences);
  const half = quantile * Math.sqrt(variance);
  return { gain, low: Math.max(-1, gain - half), high: Math.min(1, gain + half) };
}

function meansByTask(samples: readonly GradedSample[]): Map<string, number> {
  const counts = new Map<string, { correct: number; total: number }>();
  for (const { taskId, correct } of samples) {
    const count = counts.get(taskId) ?? { correct: 0, total: 0 };
    counts.set(taskId, { correct: count.correct + (correct ? 1 : 0), total: count.total + 1 });
  }
  return new Map([...counts].map(([taskId, { correct, total }]) => [taskId, correct / total]));
}

function wilson(share: number, count: number): { readonly low: number; readonly high: number } {
  const squared = quantile * quantile;
  const centre = (share + squared / (2 * count)) / (1 + squared / count);
  const spread = Math.sqrt((share * (1 - share)) / count + squared / (4 * count * count));
  const half = (quantile * spread) / (1 + squared / count);
  return { low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}

function varianceOfMean(values: readonly number[]): number | undefined {
  if (values.length < 2) return undefined;
  const centre = mean(values);
  const sum = values.reduce((total, value) => total + (value - centre) ** 2, 0);
  return sum / (values.length - 1) / values.length;
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
