import { expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { createFunctionCoach } from './function-coach.ts';
import { hideAnswer } from './hide-answer.ts';

test('the ground truth is shown for the actions of the agents named, and hidden for all others', async () => {
  const shown: (string | undefined)[] = [];
  const coach = hideAnswer(
    createFunctionCoach(({ task }) => {
      shown.push(task.answer);
      return 5;
    }),
    ['verifier'],
  );
  const task = { id: 't', prompt: 'p', answer: '7' };
  for (const agent of ['solver', 'verifier']) {
    await coach.score({ task, action: sampleAction('1/t/0/0', { agent }), earlier: [] });
  }
  expect(shown).toEqual([undefined, '7']);
  expect(coach.usage().calls).toBe(2);
});
