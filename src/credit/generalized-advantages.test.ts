import { describe, expect, it } from 'vitest';
import { generalizedAdvantages } from './generalized-advantages.ts';
import { returns } from './returns.ts';

const rewards = Float64Array.of(0, 1, 2);
const values = Float64Array.of(0.5, 1, 1.5);

function expectClose(actual: Float64Array, wanted: readonly number[]): void {
  expect(actual.length).toBe(wanted.length);
  for (const [token, value] of wanted.entries()) expect(actual[token]).toBeCloseTo(value, 12);
}

describe('generalizedAdvantages', () => {
  it('sums the discounted surprises', () => {
    const { advantages_T, returns_T } = generalizedAdvantages(rewards, values, {
      gamma: 0.5,
      lambda: 0.5,
    });
    // δ = 0 + ½·1 − ½ = 0 · 1 + ½·1.5 − 1 = 0.75 · 2 − 1.5 = 0.5; A = 0.5, 0.75 + 0.25·0.5, 0.25·0.875
    expectClose(advantages_T, [0.21875, 0.875, 0.5]);
    expectClose(returns_T, [0.71875, 1.875, 2]);
  });

  it('is the return minus the value at λ = 1', () => {
    const { advantages_T, returns_T } = generalizedAdvantages(rewards, values, {
      gamma: 0.9,
      lambda: 1,
    });
    const plain = returns(rewards, 0.9);
    expectClose(returns_T, [...plain]);
    expectClose(
      advantages_T,
      [...plain].map((value, token) => value - (values[token] ?? 0)),
    );
  });

  it('is the one-step surprise at λ = 0', () => {
    const { advantages_T } = generalizedAdvantages(rewards, values, { gamma: 1, lambda: 0 });
    expectClose(advantages_T, [0.5, 1.5, 0.5]);
  });

  it('refuses a critic that gives too few values or none that are numbers', () => {
    const options = { gamma: 1, lambda: 1 };
    expect(() => generalizedAdvantages(rewards, values.subarray(1), options)).toThrow(
      /got 2 for 3 tokens/,
    );
    expect(() => generalizedAdvantages(rewards, [0, Number.NaN, 0], options)).toThrow(
      /value of token 1 is NaN/,
    );
  });
});
