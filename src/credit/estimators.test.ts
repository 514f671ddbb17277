import { describe, expect, it } from 'vitest';
import type { Sample } from './estimator.ts';
import { estimators } from './estimators.ts';
import { klPenalty } from './kl-penalty.ts';
import { normalize, spreadOf } from './normalize.ts';
import { returns, tokenRewards } from './returns.ts';

const options = { klCoefficient: 0.01, gamma: 1, lambda: 0.5 };
const plain = { klCoefficient: 0, gamma: 1, lambda: 0.5 };

const sample = (group: string, reward: number, kl: readonly number[]): Sample => ({
  group,
  reward,
  kl_T: Float64Array.from(kl),
});

function expectRows(rows: readonly Float64Array[], expected: readonly (readonly number[])[]) {
  expect(rows.map((row) => row.length)).toEqual(expected.map((row) => row.length));
  for (const [index, row] of rows.entries()) {
    for (const [token, value] of row.entries()) {
      expect(value).toBeCloseTo(expected[index]?.[token] ?? Number.NaN, 4);
    }
  }
}

describe('the worked example of REINFORCE++', () => {
  const first = sample('a', 0.8, [0.1, 0, 0.2]);
  const second = sample('b', 0.2, [0, -0.1]);

  it('has token rewards and returns as computed by hand', () => {
    const rewards = [first, second].map(({ kl_T, reward }) => tokenRewards(kl_T, reward, 0.01));
    expectRows(rewards, [
      [-0.001, 0, 0.798],
      [0, 0.201],
    ]);
    expectRows(
      rewards.map((row) => returns(row, 1)),
      [
        [0.797, 0.798, 0.798],
        [0.201, 0.201],
      ],
    );
  });

  it('has mean 0.559 and standard deviation 0.292306 over the tokens', () => {
    const spread = spreadOf([0.797, 0.798, 0.798, 0.201, 0.201]);
    expect(spread.mean).toBeCloseTo(0.559, 9);
    expect(spread.deviation).toBeCloseTo(0.292306, 6);
  });

  it('has advantages of +0.8142, +0.8176, +0.8176 and −1.2247 twice', () => {
    expectRows(estimators['reinforce-plus-plus']([first, second], options), [
      [0.8142, 0.8176, 0.8176],
      [-1.2247, -1.2247],
    ]);
  });
});

describe('returns', () => {
  it('discounts by gamma per token', () => {
    expectRows([returns(Float64Array.of(1, 2, 4), 0.5)], [[3, 4, 4]]);
  });

  it('clips the reward of an action to ten, not the divergence', () => {
    expectRows([tokenRewards(Float64Array.of(2000, 0), 50, 0.01)], [[-20, 10]]);
  });
});

describe('normalize', () => {
  it('gives all zeros for equal values, rounding included', () => {
    expectRows(normalize([Float64Array.of(0.1, 0.1, 0.1), Float64Array.of(0.1)]), [[0, 0, 0], [0]]);
  });
});

describe('klPenalty', () => {
  it('is the policy minus the reference', () => {
    expectRows([klPenalty(Float32Array.of(-1, -2), Float32Array.of(-1.5, -1))], [[0.5, -1]]);
  });

  it('refuses lengths that differ and values that are not finite', () => {
    const one = Float32Array.of(-1);
    expect(() => klPenalty(one, Float32Array.of(-1, -1))).toThrow(/got 2 for 1 tokens/);
    expect(() => klPenalty(one, Float32Array.of(Number.NaN))).toThrow(/must be finite/);
  });
});

describe('group estimators', () => {
  const samples = [
    sample('p', 1, [0, 0]),
    sample('p', 0, [0]),
    sample('p', 0.5, [0]),
    sample('q', 0.4, [0]),
  ];

  it('reinforce returns the reward itself', () => {
    expectRows(estimators.reinforce(samples, plain), [[1, 1], [0], [0.5], [0.4]]);
  });

  it('rloo compares with the others of the group, and a lone sample with nothing', () => {
    expectRows(estimators.rloo(samples, plain), [[0.75, 0.75], [-0.75], [0], [0]]);
  });

  it('grpo is the z-score of the group', () => {
    const z = 0.5 / Math.sqrt(1 / 6);
    expectRows(estimators.grpo(samples, plain), [[z, z], [-z], [0], [0]]);
  });

  it('reinforce-baseline subtracts the group mean, then normalises over the tokens', () => {
    // Centred tokens: .5 .5 −.5 0 0; mean 0.1, σ = √(0.75/5 − 0.01) = √0.14.
    const s = Math.sqrt(0.14);
    expectRows(estimators['reinforce-baseline'](samples, plain), [
      [0.4 / s, 0.4 / s],
      [-0.6 / s],
      [-0.1 / s],
      [-0.1 / s],
    ]);
  });
});
