import { expect, test } from 'vitest';
import { learningRateAt } from './schedule.ts';

const place = { steps: 12, warmupSteps: 2 };

test('warm-up rises linearly to the peak', () => {
  expect(learningRateAt(4, 'cosine', { ...place, step: 1 })).toBe(2);
  expect(learningRateAt(4, 'cosine', { ...place, step: 2 })).toBe(4);
});

test('cosine is at 55 % half-way and at a tenth at the end, and stays there past the end', () => {
  expect(learningRateAt(1, 'cosine', { ...place, step: 7 })).toBeCloseTo(0.55);
  expect(learningRateAt(1, 'cosine', { ...place, step: 12 })).toBeCloseTo(0.1);
  expect(learningRateAt(1, 'cosine', { ...place, step: 500 })).toBeCloseTo(0.1);
});

test('linear falls evenly and constant does not move', () => {
  expect(learningRateAt(1, 'linear', { ...place, step: 7 })).toBeCloseTo(0.55);
  expect(learningRateAt(1, 'constant', { ...place, step: 12 })).toBe(1);
});
