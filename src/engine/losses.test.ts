import { describe, expect, it } from 'vitest';
import type { Datum, Loss } from '../types/training-service.ts';
import { computeLoss } from './losses.ts';

const log2 = Math.log(2);

/** Ratios 1, 2, 1/2, 2, 1/2, 4 with advantages of both signs; the last token is masked. */
const datum: Datum = {
  input: Int32Array.of(0, 1, 2, 3, 4, 5),
  target: Int32Array.of(1, 2, 3, 4, 5, 6),
  weights: Float32Array.of(1, 1, 0.5, 1, 2, 0),
  advantages: Float32Array.of(3, 1, 1, -1, -1, Number.NaN),
  oldLogprobs: Float32Array.of(-1, -1, -1, -1, -1, Number.NaN),
};
const logprobs = Float32Array.of(-1, -1 + log2, -1 - log2, -1 + log2, -1 - log2, -9);

function expectSlopes(actual: Float32Array, expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((slope, index) => {
    expect(actual[index]).toBeCloseTo(slope, 6);
  });
}

describe('computeLoss', () => {
  it('takes cross entropy as the weighted sum of −p', () => {
    const result = computeLoss(datum, logprobs, { kind: 'cross_entropy' });
    // 1 + (1 − L) + (1 + L)/2 + (1 − L) + 2(1 + L), L = ln 2
    expect(result.loss).toBeCloseTo(5.5 + 0.5 * log2, 6);
    expectSlopes(result.slopes, [-1, -1, -0.5, -1, -2, 0]);
    expect(result.tokens).toBe(5);
  });

  it('takes importance sampling as −r·A', () => {
    const result = computeLoss(datum, logprobs, { kind: 'importance_sampling' });
    // −3 − 2 − 0.25 + 2 + 1
    expect(result.loss).toBeCloseTo(-2.25, 6);
    expectSlopes(result.slopes, [-3, -2, -0.25, 2, 1, 0]);
  });

  it('holds the PPO ratio only where holding makes the objective smaller', () => {
    const result = computeLoss(datum, logprobs, { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 });
    // A=3: −3 · r=2, A=1: held, −1.2 · r=.5, A=1: free, −.5·.5 · r=2, A=−1: free, +2 · r=.5, A=−1: held, 2·.8
    expect(result.loss).toBeCloseTo(-3 - 1.2 - 0.25 + 2 + 1.6, 6);
    expectSlopes(result.slopes, [-3, 0, -0.25, 2, 0, 0]);
    expect(result.clippedTokens).toBe(2);
  });

  it('keeps every token in CISPO and bounds its weight', () => {
    const result = computeLoss(datum, logprobs, { kind: 'cispo', clipLow: 0.8, clipHigh: 1.2 });
    const expected =
      -3 * -1 -
      1.2 * (-1 + log2) -
      0.5 * 0.8 * (-1 - log2) +
      1.2 * (-1 + log2) +
      2 * 0.8 * (-1 - log2);
    expect(result.loss).toBeCloseTo(expected, 6);
    expectSlopes(result.slopes, [-3, -1.2, -0.4, 1.2, 1.6, 0]);
    expect(result.clippedTokens).toBe(4);
  });

  it('takes the linear loss as −A·p', () => {
    const result = computeLoss(datum, logprobs, { kind: 'linear' });
    expectSlopes(result.slopes, [-3, -1, -0.5, 1, 2, 0]);
    expect(result.loss).toBeCloseTo(
      3 + (1 - log2) + 0.5 * (1 + log2) - (1 - log2) - 2 * (1 + log2),
      6,
    );
  });

  it('sums q − p over weighted tokens as the k1 estimate', () => {
    // −L + L − L + L over the four tokens with ratios 2 and 1/2
    expect(computeLoss(datum, logprobs, { kind: 'linear' }).kl).toBeCloseTo(0, 6);
    const { oldLogprobs: _unused, ...without } = datum;
    expect(computeLoss(without, logprobs, { kind: 'linear' }).kl).toBeUndefined();
  });

  it('weighs every token with 1 when there are no weights', () => {
    const bare = { input: Int32Array.of(1, 2), target: Int32Array.of(2, 3) };
    const result = computeLoss(bare, Float32Array.of(-1, -2), { kind: 'cross_entropy' });
    expect(result.loss).toBe(3);
  });

  const kinds: readonly Loss[] = [
    { kind: 'cross_entropy' },
    { kind: 'importance_sampling' },
    { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 },
    { kind: 'linear' },
  ];

  it.each(kinds)('has the slopes that finite differences of its value give: $kind', (loss) => {
    const step = 2 ** -8;
    const { slopes } = computeLoss(datum, logprobs, loss);
    logprobs.forEach((value, index) => {
      const at = (moved: number) => computeLoss(datum, logprobs.with(index, moved), loss).loss;
      const difference = (at(value + step) - at(value - step)) / (2 * step);
      expect(Math.abs(difference - (slopes[index] ?? 0))).toBeLessThan(1e-4);
    });
  });
});
