import type { Coach } from '../types/feedback.ts';
import { type Budget, type Ledger, spentError } from './ledger.ts';

/**
 * Holds a coach that is a function of the user's to a budget of calls.
 *
 * @throws BoundaryError("coach") from `score` when the budget is spent and the run is to pause
 */
export function countCalls(
  coach: Coach,
  { ledger, budget }: { readonly ledger: Ledger; readonly budget: Budget },
): Coach {
  return {
    name: coach.name,
    usage: () => ledger.usage(),
    isSpent: () => ledger.isSpent && budget.whenSpent === 'outcome',
    score: async (request, options) => {
      const actionId = request.action.id;
      const call = { actionId, inputBytes: 0, maxOutputTokens: 0 };
      const reservation = await ledger.reserve(call, options?.signal);
      if (reservation === undefined) {
        if (budget.whenSpent === 'pause') {
          await ledger.settled();
          throw spentError(coach.name, budget, ledger.usage());
        }
        return { kind: 'unscored', actionId, cause: 'the coaching budget is spent' };
      }
      try {
        const feedback = await coach.score(request, options);
        reservation.answered({});
        return feedback;
      } catch (error) {
        reservation.failed(false);
        throw error;
      }
    },
  };
}
