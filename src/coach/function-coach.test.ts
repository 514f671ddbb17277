import { expect, test } from 'vitest';
import type { CoachRequest } from '../types/feedback.ts';
import { createFunctionCoach } from './function-coach.ts';

const request = { action: { id: 'a1' } } as CoachRequest;
const verdictOf = (given: unknown) => createFunctionCoach(() => given as number).score(request);

test('points, points with a reason and the lack of a score are taken as they are', async () => {
  const scored = { kind: 'scored', actionId: 'a1', blame: 'none' };
  expect(await verdictOf(7)).toEqual({ ...scored, score: 7, reason: '' });
  expect(await verdictOf({ score: 0, reason: 'no' })).toEqual({
    ...scored,
    score: 0,
    reason: 'no',
  });
  expect(await verdictOf({ unscored: 'asleep' })).toEqual({
    ...{ kind: 'unscored', actionId: 'a1', cause: 'asleep' },
  });
});

test.each([undefined, null, Number.NaN, 11, -1, '7', {}, { score: 11 }])(
  'anything else stops the run with what came: %j',
  async (given) => {
    await expect(verdictOf(given)).rejects.toThrow(/the coach function gave .* for action a1/);
  },
);

test('a function that throws stops the run with its message', async () => {
  const coach = createFunctionCoach(() => {
    throw new Error('my mistake');
  });
  await expect(coach.score(request)).rejects.toThrow('failed on action a1: my mistake');
});
