/** How well predicted probabilities of being right fit what was right. */
export type Calibration = {
  readonly answers: number;
  /** Share of them that is right. */
  readonly right: number;
  /** Share judged rightly at a threshold of one half; and what always saying the commoner would give. */
  readonly accuracy: number;
  readonly commoner: number;
  /** Mean of the accuracies on right and on wrong answers; 0.5 is chance. Absent where one kind is missing. */
  readonly balancedAccuracy?: number;
  /** Mean squared error. */
  readonly brier: number;
  /** Mean over ten equal ranges, by their answers, of |mean prediction − share right|. */
  readonly calibrationError: number;
};

type Judged = { readonly predicted: number; readonly isRight: boolean };

/** @throws RangeError for no answers */
export function calibrationOf(judged: readonly Judged[]): Calibration {
  if (judged.length === 0) throw new RangeError('there is nothing to compare predictions with');
  const share = (of: readonly Judged[]) => meanOf(of.map(isHit));
  const right = judged.filter(({ isRight }) => isRight);
  const wrong = judged.filter(({ isRight }) => !isRight);
  const hasBoth = right.length > 0 && wrong.length > 0;
  const rightShare = right.length / judged.length;
  return {
    answers: judged.length,
    right: rightShare,
    accuracy: share(judged),
    commoner: Math.max(rightShare, 1 - rightShare),
    ...(hasBoth ? { balancedAccuracy: (share(right) + share(wrong)) / 2 } : {}),
    brier: meanOf(judged.map(({ predicted, isRight }) => (predicted - Number(isRight)) ** 2)),
    calibrationError: calibrationError(judged),
  };
}

function isHit({ predicted, isRight }: Judged): number {
  return Number(predicted >= 0.5 === isRight);
}

function calibrationError(judged: readonly Judged[]): number {
  const ranges = Map.groupBy(judged, ({ predicted }) => Math.min(9, Math.floor(10 * predicted)));
  const gaps = [...ranges.values()].map((own) => {
    const predicted = meanOf(own.map((one) => one.predicted));
    const right = meanOf(own.map(({ isRight }) => Number(isRight)));
    return (own.length / judged.length) * Math.abs(predicted - right);
  });
  return gaps.reduce((sum, gap) => sum + gap, 0);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
