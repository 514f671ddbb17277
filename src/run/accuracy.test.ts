import { expect, test } from 'vitest';
import { accuracyOf, gainBetween } from './accuracy.ts';

const graded = (pattern: string) =>
  [...pattern].map((mark, at) => ({ taskId: `task-${at}`, correct: mark === '1' }));

test('One sample per task gives Wilson’s interval', () => {
  // 8 of 10: centre (0.8 + 1.92073/10) / (1 + 3.84146/10) = 0.716753, half 0.226573.
  const accuracy = accuracyOf(graded('1111111100'));
  expect(accuracy?.accuracy).toBeCloseTo(0.8, 12);
  expect(accuracy?.low).toBeCloseTo(0.4902, 3);
  expect(accuracy?.high).toBeCloseTo(0.9433, 3);
});

test('Samples of one task that always agree count as one', () => {
  const twice = [...graded('1111111100'), ...graded('1111111100')];
  const once = accuracyOf(graded('1111111100'));
  const accuracy = accuracyOf(twice);
  expect(accuracy?.samples).toBe(20);
  // The variance over tasks uses n − 1, so ten tasks never count as more than ten samples here.
  expect(accuracy?.low).toBeCloseTo(once?.low ?? 0, 10);
});

test('An interval never leaves the range from 0 to 1, and nothing graded has none', () => {
  expect(accuracyOf(graded('111'))?.high).toBeCloseTo(1, 12);
  expect(accuracyOf(graded('111'))?.low).toBeGreaterThan(0.3);
  expect(accuracyOf([])).toBeUndefined();
});

test('A gain is paired by task', () => {
  // Differences 1, 1, 0, 0: mean 0.5, variance 1/3, standard error √(1/12) = 0.288675.
  const gain = gainBetween(graded('0011'), graded('1111'));
  expect(gain?.gain).toBe(0.5);
  expect(gain?.low).toBeCloseTo(0.5 - 1.959964 * 0.288675, 5);
  expect(gainBetween(graded('01'), [{ taskId: 'other', correct: true }])).toBeUndefined();
});
