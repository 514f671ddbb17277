import { expect, test } from 'vitest';
import { bootstrapMean } from './bootstrap-mean.ts';

test('the interval is over tasks: more samples of the same tasks do not narrow it', () => {
  const tasks = Array.from({ length: 20 }, (_, index) => [`t${index}`, [index % 2]] as const);
  const once = bootstrapMean(new Map(tasks));
  const often = bootstrapMean(
    new Map(tasks.map(([id, [value = 0]]) => [id, [value, value, value]])),
  );
  expect(once?.mean).toBe(0.5);
  expect(often).toEqual(once);
  // Of 20 fair coins, the mean of 95 % lies within 0.5 ± 1.96·0.5/√20 = 0.28 to 0.72, on a grid of 0.05.
  expect(once?.low).toBeGreaterThanOrEqual(0.25);
  expect(once?.low).toBeLessThanOrEqual(0.35);
  expect(once?.high).toBeGreaterThanOrEqual(0.65);
  expect(once?.high).toBeLessThanOrEqual(0.75);
});

test('the order of the tasks does not matter, equal tasks leave no doubt, and nothing has no mean', () => {
  const values = new Map([
    ['a', [1, 0]],
    ['b', [3]],
    ['c', [7, 8, 9]],
  ]);
  expect(bootstrapMean(values)).toEqual(bootstrapMean(new Map([...values].toReversed())));
  expect(bootstrapMean(values)?.mean).toBeCloseTo((0.5 + 3 + 8) / 3);
  expect(
    bootstrapMean(
      new Map([
        ['a', [2]],
        ['b', [2]],
      ]),
    ),
  ).toEqual({ mean: 2, low: 2, high: 2 });
  expect(bootstrapMean(new Map())).toBeUndefined();
});
