import { expect, test } from 'vitest';
import { agreementOf } from './agreement.ts';
import { estimate, meanStatistic, ranksOf } from './estimate.ts';

const pair = (group: string, first: number, second: number) => ({ group, first, second });

test('agreement of four pairs, worked out by hand', () => {
  const pairs = [pair('a', 2, 3), pair('b', 4, 3), pair('c', 6, 8), pair('d', 8, 6)];
  const agreement = agreementOf(pairs);
  expect(agreement.pairs).toBe(4);
  // Means 5 and 5; products 6 + 2 + 3 + 3 = 14, squares 20 and 18.
  expect(agreement.meanFirst?.value).toBe(5);
  expect(agreement.pearson?.value).toBeCloseTo(14 / Math.sqrt(20 * 18), 12);
  // Ranks 1 2 3 4 and 1.5 1.5 4 3: products 1.5 + 0.5 + 0.75 + 0.75 = 3.5, squares 5 and 4.5.
  expect(agreement.spearman?.value).toBeCloseTo(3.5 / Math.sqrt(5 * 4.5), 12);
  expect(agreement.meanAbsoluteDifference?.value).toBe(1.5);
  expect(agreement.withinOnePoint?.value).toBe(0.5);
  // Observed (1 + 1 + 4 + 4)/4 = 2.5; by chance 30 + 29.5 − 2·25 = 9.5.
  expect(agreement.kappa?.value).toBeCloseTo(1 - 2.5 / 9.5, 12);
});

test('equal scores of a coach that always says the same have no correlation and no kappa, and nothing is made up', () => {
  const agreement = agreementOf([pair('a', 5, 5), pair('b', 5, 5)]);
  expect(agreement).toMatchObject({ pairs: 2, withinOnePoint: { value: 1, low: 1, high: 1 } });
  expect(agreement).not.toHaveProperty('pearson');
  expect(agreement).not.toHaveProperty('kappa');
  expect(agreementOf([])).toEqual({ pairs: 0 });
});

test('an interval comes from whole groups: many actions of one task do not make it narrow', () => {
  const values = Array.from({ length: 100 }, (_, at) => (at < 50 ? 0 : 1));
  const mean = meanStatistic(values);
  const one = estimate(
    values.map(() => 'same'),
    { mean },
  );
  expect(one.mean).toEqual({ value: 0.5 });
  const two = estimate(values.map(String), { mean });
  expect(two.mean).toEqual({ value: 0.5, low: 0, high: 1 });
  const many = estimate(
    values.map((_, at) => String(at)),
    { mean },
  );
  // ± 1.96 · 0.5 / √100 = ± 0.098
  expect(many.mean?.low).toBeCloseTo(0.402, 1);
  expect(many.mean?.high).toBeCloseTo(0.598, 1);
});

test('ties share the mean of their ranks', () => {
  expect(ranksOf([10, 20, 10, 30])).toEqual([1.5, 3, 1.5, 4]);
});
