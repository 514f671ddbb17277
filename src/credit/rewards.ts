import type { Feedback, Outcome } from '../types/feedback.ts';

const MOST_POINTS = 10;

/** The reward of a coach's verdict: points / 10, in [0, 1]; `undefined` where there is no score. */
export function coachReward(feedback: Feedback | undefined): number | undefined {
  return feedback?.kind === 'scored' ? feedback.score / MOST_POINTS : undefined;
}

/** The reward that every action of a trajectory shares: 1 for a correct answer, 0 for a wrong one. */
export function outcomeReward(outcome: Outcome | undefined): number | undefined {
  if (outcome === undefined) return undefined;
  return outcome.correct ? 1 : 0;
}
