import { expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import type { Feedback } from '../types/feedback.ts';
import { countUnscoredPlays, describeUsage } from './coach-metrics.ts';
import type { Judged, Training } from './training.ts';

test.each([
  [{ calls: 40, cached: 3, usd: 0.0123 }, '40 calls, 3 from the cache, $0.0123'],
  [{ calls: 2 }, '2 calls'],
  [{ calls: 2, usdUnknown: 0.5 }, '2 calls, at most $0.5000'],
  [{ calls: 2, usd: 0.25, usdUnknown: 0.5 }, '2 calls, $0.2500 and at most $0.5000 more'],
])('Costs are said as far as they are known: %j', (usage, words) => {
  expect(describeUsage(usage)).toBe(words);
});

test('a play of a weighted vote has no score where no agent’s last answer has one, whatever its earlier ones have', () => {
  const playOf = (id: string, failure?: { boundary: string; message: string }) => ({
    ...{ id, taskId: 't', sample: 0, answer: '', ...(failure && { failure }) },
    actions: ['ann.0.0', 'bob.0.0', 'ann.1.0', 'bob.1.0'].map((call) =>
      sampleAction(`${id}/${call}`, { agent: call.slice(0, 3) }),
    ),
  });
  const scored = (actionId: string): Feedback => {
    return { kind: 'scored', actionId, score: 0, reason: '', blame: 'none' };
  };
  const verdicts: readonly Feedback[] = [
    ...[scored('1/a/0/ann.0.0'), scored('1/b/0/bob.1.0')],
    { kind: 'unscored', actionId: '1/a/0/ann.1.0', cause: 'asleep' },
  ];
  const judged: Judged = {
    trajectories: [
      ...[playOf('1/a/0'), playOf('1/b/0'), playOf('1/c/0', { boundary: 'play', message: '' })],
    ],
    outcomes: new Map(),
    feedback: new Map(verdicts.map((verdict) => [verdict.actionId, verdict])),
  };
  const trainingOf = (weighsVotes: boolean) =>
    ({ team: { asksCoach: true, weighsVotes } }) as unknown as Training;
  expect(countUnscoredPlays(trainingOf(true), judged)).toBe(1);
  expect(countUnscoredPlays(trainingOf(false), judged)).toBeUndefined();
});
