import { describe, expect, it } from 'vitest';
import { expectSlopes } from '../../test/support/expect-slopes.ts';
import type { Datum } from '../types/training-service.ts';
import { computeLogitLoss, computeValueLoss } from './value-loss.ts';

const log2 = Math.log(2);

describe('computeLogitLoss', () => {
  const judged: Datum = {
    input: Int32Array.of(0, 1, 2, 3),
    target: Int32Array.of(1, 2, 3, 4),
    weights: Float32Array.of(1, 2, 1, 0),
    returns: Float32Array.of(1, 0, 0.5, Number.NaN),
  };

  it('is the cross-entropy of the value’s sigmoid, worked out by hand', () => {
    // σ(0) = ½ · σ(log 3) = ¾ · σ(−log 3) = ¼
    const values = Float32Array.of(0, Math.log(3), -Math.log(3), Number.NaN);
    const { loss, valueSlopes, tokens, sums } = computeLogitLoss(judged, values);
    // −log ½ − 2·log(1 − ¾) − ½·log ¼ − ½·log ¾
    expect(loss).toBeCloseTo(log2 + 4 * log2 - (Math.log(1 / 4) + Math.log(3 / 4)) / 2, 6);
    expectSlopes(valueSlopes, [-0.5, 1.5, -0.25, 0]);
    expect([tokens, sums]).toEqual([3, {}]);
  });

  it('has the slopes of finite differences, and stays finite for a head that is sure', () => {
    const step = 2 ** -8;
    const values = Float32Array.of(0.5, -2, 3, Number.NaN);
    const { valueSlopes } = computeLogitLoss(judged, values);
    [0, 1, 2].forEach((index) => {
      const at = (moved: number) => computeLogitLoss(judged, values.with(index, moved)).loss;
      const value = values[index] ?? 0;
      const difference = (at(value + step) - at(value - step)) / (2 * step);
      expect(Math.abs(difference - (valueSlopes[index] ?? 0))).toBeLessThan(1e-4);
    });
    const sure = computeLogitLoss(judged, Float32Array.of(200, -300, 0, Number.NaN));
    expect(sure.loss).toBeCloseTo(log2, 6);
    expect(computeLogitLoss(judged, Float32Array.of(-200, 300, 0, 0)).loss).toBeCloseTo(
      800 + log2,
      3,
    );
  });
});

describe('computeValueLoss', () => {
  const critic: Datum = {
    input: Int32Array.of(0, 1, 2, 3),
    target: Int32Array.of(1, 2, 3, 4),
    weights: Float32Array.of(1, 2, 1, 0),
    returns: Float32Array.of(1, 0, 1, Number.NaN),
    oldValues: Float32Array.of(0, 0, 1, Number.NaN),
  };
  const values = Float32Array.of(0.5, 0.4, 1.1, Number.NaN);

  it('is half the squared error without a clip', () => {
    const result = computeValueLoss(critic, values, undefined);
    // ½(.25) + 2·½(.16) + ½(.01)
    expect(result.loss).toBeCloseTo(0.125 + 0.16 + 0.005, 6);
    expectSlopes(result.valueSlopes, [-0.5, 0.8, 0.1, 0]);
    expect(result.sums).toEqual({});
  });

  it('takes the worse of the free and the held prediction, which is flat', () => {
    const result = computeValueLoss(critic, values, 0.2);
    // held at .2: (.2 − 1)² > (.5 − 1)² · held at .2: .04 < .16, so free · not held
    expect(result.loss).toBeCloseTo(0.32 + 0.16 + 0.005, 6);
    expectSlopes(result.valueSlopes, [0, 0.8, 0.1, 0]);
    expect(result.sums.clippedTokens).toBe(1);
  });

  it('has the slopes of finite differences', () => {
    const step = 2 ** -8;
    const { valueSlopes } = computeValueLoss(critic, values, 0.2);
    [0, 1, 2].forEach((index) => {
      const at = (moved: number) => computeValueLoss(critic, values.with(index, moved), 0.2).loss;
      const value = values[index] ?? 0;
      const difference = (at(value + step) - at(value - step)) / (2 * step);
      expect(Math.abs(difference - (valueSlopes[index] ?? 0))).toBeLessThan(1e-4);
    });
  });
});
