import { expect, test } from 'vitest';
import { tinyConfig } from '../../../test/support/tiny-decoder.ts';
import { planMemory, totalMemory } from './plan-memory.ts';

const use = {
  dtype: 'float32',
  ...{ rank: 4, policies: 3, rows: 9, context: 128 },
  ...{ passTokens: 256, scoredTokens: 64 },
} as const;

test('memory of a two-layer model, worked out by hand', () => {
  const plan = planMemory(tinyConfig, use);
  // Embedding 96 × 64; per layer q, o 2·(128 × 64), k, v 2·(64 × 64), gate, up, down 3·(384 × 64), norms 2·64 + 2·32;
  // final norm 64.
  const layer = 2 * 128 * 64 + 2 * 64 * 64 + 3 * 384 * 64 + 128 + 64;
  expect(plan.weights).toBe(4 * (96 * 64 + 2 * layer + 64));
  // Rank 4 times inputs and outputs of each module: q, o 192 each, k, v 128 each, gate, up, down 448 each.
  const adapter = 2 * 4 * (2 * 192 + 2 * 128 + 3 * 448);
  expect(plan.adapters).toBe(3 * 2 * adapter * 4);
  expect(plan.optimiser).toBe(3 * 3 * adapter * 4);
  // 9 rows take 16 slots; keys and values of 2 heads × 32 in 2 layers.
  expect(plan.cache).toBe(16 * 128 * 2 * 2 * 2 * 32 * 4);
  const kept = 6 * 64 + 4 * (4 + 2) * 32 + 4 * 384;
  expect(plan.activations).toBe(4 * (256 * 2 * kept + 64 * 5 * 96));
  const { weights, adapters, optimiser, cache, activations } = plan;
  expect(totalMemory(plan)).toBe(weights + adapters + optimiser + cache + activations);
});

test('half precision halves weights and cache, and adapters stay float32', () => {
  const [full, half] = [
    planMemory(tinyConfig, use),
    planMemory(tinyConfig, { ...use, dtype: 'bfloat16' }),
  ];
  expect([half.weights * 2, half.cache * 2]).toEqual([full.weights, full.cache]);
  expect(half.adapters).toBe(full.adapters);
});
