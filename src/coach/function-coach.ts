import { BoundaryError, messageOf } from '../errors.ts';
import type { Coach, CoachRequest, Feedback } from '../types/feedback.ts';

type Verdict =
  | number
  | { readonly score: number; readonly reason: string }
  | { readonly unscored: string };

/**
 * A coach from a plain function: points 0–10, points with a reason, or why there are none.
 *
 * A function that throws is a mistake in the user's code and stops the run; it is not an unscored action.
 */
export function createFunctionCoach(
  judge: (request: CoachRequest) => Promise<Verdict> | Verdict,
): Coach {
  let calls = 0;
  return {
    name: judge.name || 'a function',
    usage: () => ({ calls, inputTokens: 0, outputTokens: 0 }),
    score: async (request) => {
      calls++;
      const actionId = request.action.id;
      return toFeedback(await ask(judge, request), actionId);
    },
  };
}

async function ask(
  judge: (request: CoachRequest) => Promise<Verdict> | Verdict,
  request: CoachRequest,
): Promise<Verdict> {
  try {
    return await judge(request);
  } catch (cause) {
    const message = `the coach function failed on action ${request.action.id}: ${messageOf(cause)}`;
    throw new BoundaryError('coach', message, { cause });
  }
}

function toFeedback(verdict: Verdict, actionId: string): Feedback {
  if (typeof verdict === 'object' && 'unscored' in verdict) {
    return { kind: 'unscored', actionId, cause: verdict.unscored };
  }
  const { score, reason } = typeof verdict === 'number' ? { score: verdict, reason: '' } : verdict;
  if (score >= 0 && score <= 10) return { kind: 'scored', actionId, score, reason, blame: 'none' };
  throw new BoundaryError(
    'coach',
    `the coach function gave ${score} points to action ${actionId}; expected 0 to 10, or { unscored: why }`,
  );
}
