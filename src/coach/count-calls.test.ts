import { expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { countCalls } from './count-calls.ts';
import { createFunctionCoach } from './function-coach.ts';
import { createMemoryBooks, Ledger } from './ledger.ts';

function coachWith(whenSpent: 'pause' | 'outcome') {
  const budget = { calls: 3, whenSpent } as const;
  const ledger = new Ledger({ model: 'f', books: createMemoryBooks(), budget });
  let calls = 0;
  const coach = createFunctionCoach(() => {
    calls += 1;
    return 7;
  });
  return { coach: countCalls(coach, { ledger, budget }), calls: () => calls };
}
const requests = Array.from({ length: 64 }, (_, sample) => ({
  task: { id: 't', prompt: 'p' },
  action: sampleAction(`1/t/${sample}/0`),
  earlier: [],
}));

test('a function is asked as often as the budget has calls, of 64 at once', async () => {
  const { coach, calls } = coachWith('outcome');
  const verdicts = await Promise.all(requests.map((request) => coach.score(request)));
  expect(verdicts.filter(({ kind }) => kind === 'scored')).toHaveLength(3);
  expect(verdicts[3]).toMatchObject({ kind: 'unscored', cause: 'the coaching budget is spent' });
  expect(calls()).toBe(3);
  expect(coach.isSpent?.()).toBe(true);
});

test('where the run is to pause, the call after the last one stops it', async () => {
  const { coach, calls } = coachWith('pause');
  const ended = await Promise.allSettled(requests.map((request) => coach.score(request)));
  expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
  expect(ended[3]).toMatchObject({ reason: { boundary: 'coach', retryable: true } });
  expect(calls()).toBe(3);
  expect(coach.isSpent?.()).toBe(false);
});
