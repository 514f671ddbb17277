import { expect, test } from 'vitest';
import { describeUsage } from './coach-metrics.ts';

test.each([
  [{ calls: 40, cached: 3, usd: 0.0123 }, '40 calls, 3 from the cache, $0.0123'],
  [{ calls: 2 }, '2 calls'],
  [{ calls: 2, usdUnknown: 0.5 }, '2 calls, at most $0.5000'],
  [{ calls: 2, usd: 0.25, usdUnknown: 0.5 }, '2 calls, $0.2500 and at most $0.5000 more'],
])('Costs are said as far as they are known: %j', (usage, words) => {
  expect(describeUsage(usage)).toBe(words);
});
