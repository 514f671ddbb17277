import { inspect } from 'node:util';
import { z } from 'zod';
import { BoundaryError, messageWithPlace } from '../errors.ts';
import { blames, type Coach, type CoachRequest, type Feedback } from '../types/feedback.ts';

const verdict = z.discriminatedUnion('kind', [
  z.object({
    ...{ kind: z.literal('scored'), actionId: z.string(), score: z.number().min(0).max(10) },
    ...{ reason: z.string(), blame: z.enum(blames) },
    ...{ blamedAgent: z.string().exactOptional(), answerCorrect: z.boolean().exactOptional() },
  }),
  z.object({ kind: z.literal('unscored'), actionId: z.string(), cause: z.string() }),
]);

/**
 * A coach that is an object of the user's, whose verdicts are looked at before anybody believes them: points beyond 0 to 10
 * could not be stored, and another action's id would give that action the credit.
 *
 * @throws BoundaryError("coach") from `score` for any other verdict, and with the message of what the coach throws
 */
export function checkOwnCoach(coach: Coach): Coach {
  return {
    name: coach.name,
    // Asked through the object: it may be an instance of a class.
    usage: () => coach.usage(),
    isSpent: () => coach.isSpent?.() ?? false,
    score: async (request, options) =>
      toFeedback(await ask(coach, request, options), request, coach),
  };
}

async function ask(
  coach: Coach,
  request: CoachRequest,
  options: Parameters<Coach['score']>[1],
): Promise<unknown> {
  try {
    return await coach.score(request, options);
  } catch (cause) {
    options?.signal?.throwIfAborted();
    if (cause instanceof BoundaryError) throw cause;
    const message = `the coach ${coach.name} failed on action ${request.action.id}: ${messageWithPlace(cause)}`;
    throw new BoundaryError('coach', message, { cause });
  }
}

function toFeedback(given: unknown, { action: { id } }: CoachRequest, { name }: Coach): Feedback {
  const { data } = verdict.safeParse(given);
  if (data?.actionId === id) return data;
  throw new BoundaryError(
    'coach',
    `the coach ${name} gave ${inspect(given, { breakLength: Number.POSITIVE_INFINITY })} for action ${id}; expected { kind: 'scored', actionId, score, reason, blame } with that id and points from 0 to 10, or { kind: 'unscored', actionId, cause }`,
  );
}
