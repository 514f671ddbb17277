import { describe, expect, it } from 'vitest';
import { noGrad } from './autograd.ts';
import { drawTokens, planSampling, type SamplingRule, uniformAt } from './sampling.ts';
import { tidy } from './scope.ts';
import { tensorOf } from './tensor.ts';

const logits = [0.5, 0.1, 0.3, 0.1].map(Math.log);

/** Tokens drawn at positions 0 … count − 1 from the probabilities [0.5, 0.1, 0.3, 0.1]. */
function draw(
  rule: Omit<SamplingRule, 'seed'>,
  count: number,
): { counts: number[]; logprobs: Float32Array; behaviour: Float32Array | undefined } {
  return noGrad(() =>
    tidy(() => {
      const rows = Array.from({ length: count }, () => ({ ...rule, seed: 7 }));
      const values = tensorOf(Float32Array.from(rows.flatMap(() => logits)), [count, 4]);
      const plan = planSampling(rows, 4, 'cpu');
      const { tokens, logprobs, behaviour } = drawTokens(
        values,
        plan,
        rows.map((_, position) => position),
      );
      const counts = [0, 0, 0, 0];
      for (const token of tokens.toBigInt64Array())
        counts[Number(token)] = (counts[Number(token)] ?? 0) + 1;
      return {
        counts,
        logprobs: logprobs.toFloat32Array(),
        behaviour: behaviour?.toFloat32Array(),
      };
    }),
  );
}

describe('drawn tokens', () => {
  it('come as often as their probability says', () => {
    const { counts } = draw({ temperature: 1 }, 10_000);
    // Five standard deviations of a binomial count are at most 250.
    expect(Math.abs((counts[0] ?? 0) - 5000)).toBeLessThan(250);
    expect(Math.abs((counts[1] ?? 0) - 1000)).toBeLessThan(150);
    expect(Math.abs((counts[2] ?? 0) - 3000)).toBeLessThan(230);
  });

  it('come from probabilities squared at temperature one half', () => {
    const { counts } = draw({ temperature: 0.5 }, 10_000);
    // 0.25, 0.01, 0.09, 0.01 over 0.36.
    expect(Math.abs((counts[0] ?? 0) - 6944)).toBeLessThan(231);
    expect(Math.abs((counts[2] ?? 0) - 2500)).toBeLessThan(217);
  });

  it('are the likeliest at temperature zero, with the raw log-prob', () => {
    const { counts, logprobs } = draw({ temperature: 0 }, 3);
    expect(counts).toEqual([3, 0, 0, 0]);
    expect(logprobs[0]).toBeCloseTo(Math.log(0.5), 6);
  });

  it('stay above a share of the likeliest', () => {
    // At least 0.25 × 0.5 = 0.125.
    const { counts } = draw({ temperature: 1, minP: 0.25 }, 2000);
    expect([counts[1], counts[3]]).toEqual([0, 0]);
    expect(draw({ temperature: 1, minP: 0.15 }, 2000).counts[1]).toBeGreaterThan(0);
    // Among the two likeliest, 0.25 and 0.09 at temperature ½, only the first has half of the first.
    expect(draw({ temperature: 0.5, topK: 2, minP: 0.5 }, 500).counts).toEqual([500, 0, 0, 0]);
  });

  it('carry the log-prob they were drawn with where that is not the raw one', () => {
    const { logprobs, behaviour } = draw({ temperature: 0.5, topK: 2 }, 50);
    // 0.25 and 0.09 over 0.34, raw 0.5 and 0.3.
    const expected = Array.from(logprobs, (raw) =>
      Math.log(Math.abs(raw - Math.log(0.5)) < 1e-3 ? 0.25 / 0.34 : 0.09 / 0.34),
    );
    expected.forEach((value, index) => {
      expect(behaviour?.[index]).toBeCloseTo(value, 5);
    });
    expect(draw({ temperature: 1 }, 3).behaviour).toBeUndefined();
    expect(draw({ temperature: 0 }, 3).behaviour).toBeUndefined();
  });

  it('stay within the k likeliest', () => {
    const { counts, logprobs } = draw({ temperature: 1, topK: 2 }, 4000);
    expect([counts[1], counts[3]]).toEqual([0, 0]);
    // 0.5 / 0.8 of 4000.
    expect(Math.abs((counts[0] ?? 0) - 2500)).toBeLessThan(154);
    expect(Math.max(...logprobs)).toBeCloseTo(Math.log(0.5), 6);
  });

  it('stay within the smallest set that holds the share p', () => {
    expect(draw({ temperature: 1, topP: 0.45 }, 500).counts).toEqual([500, 0, 0, 0]);
    const { counts } = draw({ temperature: 1, topP: 0.7 }, 500);
    expect([counts[1], counts[3]]).toEqual([0, 0]);
    expect(counts[2]).toBeGreaterThan(0);
  });

  it('apply p to what k left', () => {
    // Of the two likeliest the first holds 0.625 of the mass, so 0.6 needs it alone.
    expect(draw({ temperature: 1, topK: 2, topP: 0.6 }, 500).counts).toEqual([500, 0, 0, 0]);
  });
});

describe('the chance of a position', () => {
  it('is in (0, 1], exact in float32, and spread evenly over positions and seeds', () => {
    const bins = new Array<number>(10).fill(0);
    for (let index = 0; index < 20_000; index++) {
      const value = uniformAt(index % 100, Math.floor(index / 100));
      expect(Math.fround(value)).toBe(value);
      expect(value > 0 && value <= 1).toBe(true);
      const bin = Math.min(9, Math.floor(value * 10));
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    for (const count of bins) expect(Math.abs(count - 2000)).toBeLessThan(215);
  });

  it('differs between neighbouring seeds and positions', () => {
    const values = new Set([uniformAt(1, 0), uniformAt(0, 1), uniformAt(1, 1), uniformAt(0, 0)]);
    expect(values.size).toBe(4);
    expect(uniformAt(3, 5)).toBe(uniformAt(3, 5));
  });
});
