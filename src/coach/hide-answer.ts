import type { Coach } from '../types/feedback.ts';

/** The coach, shown the ground truth only of actions of the agents named, as MAPPA shows it for the Verifier's alone. */
export function hideAnswer(coach: Coach, shownFor: readonly string[]): Coach {
  return {
    ...coach,
    score: (request, options) => {
      if (shownFor.includes(request.action.agent)) return coach.score(request, options);
      const { answer: _, ...task } = request.task;
      return coach.score({ ...request, task }, options);
    },
  };
}
