import { expect, test } from 'vitest';
import { type AuditedAction, auditOf, coachAlarms, trendOf } from './audit.ts';

const action = (at: number, changes: Partial<AuditedAction>): AuditedAction => ({
  ...{ step: 1, agent: 'solver', task: `t${at}`, tags: [], tokens: 10, score: 5 },
  ...changes,
});

test('means by tag, length and outcome, worked out by hand', () => {
  const actions = Array.from({ length: 20 }, (_, at) =>
    action(at, {
      tags: [at < 10 ? 'even' : 'odd'],
      tokens: at + 1,
      score: at < 10 ? 2 : 6,
      correct: at % 2 === 0,
    }),
  );
  const { agents, slices } = auditOf(actions);
  expect(agents).toMatchObject([{ agent: 'solver', actions: 20, mean: { value: 4 } }]);
  // Scores 2 and 6 meet right and wrong answers equally often.
  expect(agents[0]?.correlation?.value).toBeCloseTo(0, 12);
  const means = slices.map(({ by, name, actions: count, mean }) => [by, name, count, mean.value]);
  expect(means).toEqual([
    ['tag', 'even', 10, 2],
    ['tag', 'odd', 10, 6],
    ['tokens', '1–5', 5, 2],
    ['tokens', '6–10', 5, 2],
    ['tokens', '11–15', 5, 6],
    ['tokens', '16–20', 5, 6],
    ['outcome', 'right', 10, 4],
    ['outcome', 'wrong', 10, 4],
  ]);
});

test('slices of fewer than five actions say nothing, and equal lengths are one bucket', () => {
  const actions = Array.from({ length: 8 }, (_, at) =>
    action(at, { tags: at < 3 ? ['rare'] : [] }),
  );
  const slices = auditOf(actions).slices.map(({ by, name }) => `${by} ${name}`);
  expect(slices).toEqual(['tokens 1–10']);
});

test('scores that go against right answers raise an alarm, scores that go with them do not', () => {
  const judged = (scoreOf: (correct: boolean) => number) =>
    Array.from({ length: 60 }, (_, at) => {
      const correct = at % 3 === 0;
      return action(at, { correct, score: scoreOf(correct) + (at % 4) / 4 });
    });
  expect(coachAlarms(judged((correct) => (correct ? 8 : 3)))).toEqual([]);
  const [alarm] = coachAlarms(judged((correct) => (correct ? 3 : 8)));
  expect(alarm).toMatchObject({ kind: 'uncorrelated', agent: 'solver' });
  expect(alarm?.text).toContain('scores of solver do not go with right answers (correlation -0.9');
  const none = judged(() => 5).map(({ correct: _, ...rest }) => rest);
  expect(coachAlarms(none)).toEqual([]);
});

test('a score that rises while accuracy falls raises an alarm; both rising do not', () => {
  const run = (rightAt: (step: number) => number) =>
    Array.from({ length: 8 }, (_, step) =>
      Array.from({ length: 20 }, (_unused, at) => {
        const correct = at < rightAt(step);
        return action(20 * step + at, { step, correct, score: step / 2 + (correct ? 4 : 0) });
      }),
    ).flat();
  expect(coachAlarms(run((step) => 4 + step))).toEqual([]);
  const [alarm] = coachAlarms(run((step) => 12 - step));
  // Accuracy falls from 12/20 to 5/20: 35 points; the score rises by 3.5 less 4 · 0.35.
  expect(alarm).toMatchObject({ kind: 'diverging' });
  expect(alarm?.text).toContain(
    "over 8 steps the coach's mean score rose by 2.1 while accuracy fell by 35.0 points",
  );
});

test('a trend is the change along the least-squares line', () => {
  expect(trendOf([1, 2, 3, 4, 5])).toBeUndefined();
  expect(trendOf([1, 2, 3, 4, 5, 6])).toEqual({ change: 5, low: 5, high: 5 });
  // Slope of 0 1 0 1 0 1: Σ(t − 2.5)(y − 0.5)/17.5 = 1.5/17.5; far from certain.
  const zigzag = trendOf([0, 1, 0, 1, 0, 1]);
  expect(zigzag?.change).toBeCloseTo((5 * 1.5) / 17.5, 12);
  expect(zigzag?.low).toBeLessThan(0);
});

test('an agent that always gets the same points is named, unless there are few or the team is always right', () => {
  const judged = (actions: number, isRight: (at: number) => boolean) =>
    coachAlarms(Array.from({ length: actions }, (_, at) => action(at, { correct: isRight(at) })));
  const kinds = judged(50, (at) => at % 2 === 0).map(({ kind, agent }) => [kind, agent]);
  expect(kinds).toEqual([['constant', 'solver']]);
  expect(judged(49, (at) => at % 2 === 0)).toEqual([]);
  expect(judged(60, () => true)).toEqual([]);
});
