import { expect, test } from 'vitest';
import type { Coach, CoachRequest, Feedback } from '../types/feedback.ts';
import { checkOwnCoach } from './check-own-coach.ts';

const request = { action: { id: 'a1' } } as CoachRequest;
const scored = { kind: 'scored', actionId: 'a1', score: 7, reason: 'fine', blame: 'none' } as const;

/** As users write it: its methods are not the object's own. */
class OwnCoach implements Coach {
  readonly name = 'own';
  readonly #verdict: () => unknown;
  #calls = 0;

  constructor(verdict: () => unknown) {
    this.#verdict = verdict;
  }

  async score(): Promise<Feedback> {
    this.#calls++;
    return this.#verdict() as Feedback;
  }

  usage() {
    return { calls: this.#calls, inputTokens: 0, outputTokens: 0 };
  }
}

test('the verdicts of a coach that is an object are taken as they are, and its usage is its own', async () => {
  const coach = checkOwnCoach(new OwnCoach(() => scored));
  expect(await coach.score(request)).toEqual(scored);
  expect(coach.usage().calls).toBe(1);
  expect(coach.isSpent?.()).toBe(false);
  const unscored = { kind: 'unscored', actionId: 'a1', cause: 'asleep' } as const;
  expect(await checkOwnCoach(new OwnCoach(() => unscored)).score(request)).toEqual(unscored);
});

test.each([
  { ...scored, actionId: 'a2' },
  { ...scored, score: 11 },
  { ...scored, score: Number.NaN },
  { ...scored, blame: 'nobody' },
  { kind: 'unscored', actionId: 'a1' },
  7,
])('anything else stops the run with what came: %j', async (given) => {
  const coach = checkOwnCoach(new OwnCoach(() => given));
  await expect(coach.score(request)).rejects.toThrow(
    /the coach own gave .* for action a1; expected/,
  );
});

test('a coach that throws stops the run with its message', async () => {
  const coach = checkOwnCoach(
    new OwnCoach(() => {
      throw new Error('my mistake');
    }),
  );
  await expect(coach.score(request)).rejects.toThrow(
    'the coach own failed on action a1: my mistake',
  );
});
