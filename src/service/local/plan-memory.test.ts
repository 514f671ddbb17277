import { expect, test } from 'vitest';
import { tinyConfig } from '../../../test/support/tiny-decoder.ts';
import { planMemory, sampledMemory, totalMemory } from './plan-memory.ts';

const use = {
  dtype: 'float32',
  ...{ device: 'cpu', isCheckpointed: false },
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
  // 9 rows take 16 slots; keys and values of 2 heads × 32 in 2 layers. As many may stay of finished sequences.
  expect(plan.cache).toBe(2 * 16 * 128 * 2 * 2 * 2 * 32 * 4);
  // Four widths of 64, queries, keys and values of 8 heads, five times 4 heads, and gate, up and their product.
  const kept = 4 * 64 + 8 * 32 + 5 * 4 * 32 + 3 * 384;
  const passing = 2 * 64 + 3 * 384;
  expect(plan.activations).toBe(4 * 256 * (2 * kept + passing));
  expect(plan.others).toBe(0);
  const { weights, adapters, optimiser, cache, activations } = plan;
  expect(totalMemory(plan)).toBe(weights + adapters + optimiser + cache + activations);
});

test('logits count where they weigh more than the gradients of a layer', () => {
  const { activations } = planMemory({ ...tinyConfig, vocabSize: 96_000 }, use);
  const kept = 4 * 64 + 8 * 32 + 5 * 4 * 32 + 3 * 384;
  expect(activations).toBe(4 * (256 * 2 * kept + 64 * 96_000));
});

test('with checkpointing every layer keeps its input, and one is computed again', () => {
  const { activations } = planMemory(tinyConfig, { ...use, isCheckpointed: true });
  const kept = 4 * 64 + 8 * 32 + 5 * 4 * 32 + 3 * 384;
  expect(activations).toBe(4 * 256 * (2 * 64 + 2 * kept + 2 * 64 + 3 * 384));
});

test('a model that is only sampled has weights and a cache', () => {
  const { weights, cache } = planMemory(tinyConfig, use);
  expect(sampledMemory(tinyConfig, use)).toBe(weights + cache);
});

test('half precision halves weights and cache, keeps no finished sequences, and adapters stay float32', () => {
  const [full, half] = [
    planMemory(tinyConfig, use),
    planMemory(tinyConfig, { ...use, dtype: 'bfloat16' }),
  ];
  expect([half.weights * 2, half.cache * 4]).toEqual([full.weights, full.cache]);
  expect(half.adapters).toBe(full.adapters);
});
