import { inspect } from 'node:util';
import { z } from 'zod';
import { BoundaryError, messageWithPlace } from '../errors.ts';
import type { Coach, CoachRequest, Feedback } from '../types/feedback.ts';

const points = z.number().min(0).max(10);
const verdictSchema = z.union([
  points.transform((score) => ({ score, reason: '' })),
  z.object({ score: points, reason: z.string().default('') }),
  z.object({ unscored: z.string() }),
]);
type Verdict = z.input<typeof verdictSchema>;

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
    const message = `the coach function failed on action ${request.action.id}: ${messageWithPlace(cause)}`;
    throw new BoundaryError('coach', message, { cause });
  }
}

/** What comes from the user's code may be anything. */
function toFeedback(verdict: unknown, actionId: string): Feedback {
  const parsed = verdictSchema.safeParse(verdict);
  if (!parsed.success) {
    throw new BoundaryError(
      'coach',
      `the coach function gave ${inspect(verdict)} for action ${actionId}; expected points from 0 to 10, { score, reason }, or { unscored: why }`,
    );
  }
  if ('unscored' in parsed.data) return { kind: 'unscored', actionId, cause: parsed.data.unscored };
  return { kind: 'scored', actionId, ...parsed.data, blame: 'none' };
}
