import type { Feedback, Outcome } from '../../types/feedback.ts';
import type { Trajectory } from '../../types/trajectory.ts';

/** Who says what a leaf is worth: the grade of its answer, or the coach's points for its last action. */
export type LeafJudge = 'outcome' | 'coach';

/** In [0, 1]; undefined where nobody could say. */
export function leafValue(
  judge: LeafJudge,
  outcome: Outcome | undefined,
  verdict: Feedback | undefined,
): number | undefined {
  if (judge === 'coach') return verdict?.kind === 'scored' ? verdict.score / 10 : undefined;
  return outcome === undefined ? undefined : Number(outcome.correct);
}

/** The same of recorded plays; one that broke has no value. */
export function leafValueOf(
  judge: LeafJudge,
  {
    outcomes,
    feedback,
  }: {
    readonly outcomes: ReadonlyMap<string, Outcome>;
    readonly feedback: ReadonlyMap<string, Feedback>;
  },
): (trajectory: Trajectory) => number | undefined {
  return ({ id, actions, failure }) =>
    failure
      ? undefined
      : leafValue(judge, outcomes.get(id), feedback.get(actions.at(-1)?.id ?? ''));
}
