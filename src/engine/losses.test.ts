import { describe, expect, it } from 'vitest';
import { expectSlopes } from '../../test/support/expect-slopes.ts';
import type { Datum, TokenLoss } from '../types/training-service.ts';
import { aten } from './aten.ts';
import { backward, gradOf, requireGrad } from './autograd.ts';
import { computeLoss, lossNeeds } from './losses.ts';
import { add, exp, multiply, narrow, negate, subtract, sum } from './ops.ts';
import { computePreferenceLoss } from './preference-loss.ts';
import { tidy } from './scope.ts';
import { type Tensor, tensorOf } from './tensor.ts';

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

describe('computeLoss', () => {
  it('takes cross entropy as the weighted sum of −p', () => {
    const result = computeLoss(datum, { logprobs }, { kind: 'cross_entropy' });
    // 1 + (1 − L) + (1 + L)/2 + (1 − L) + 2(1 + L), L = ln 2
    expect(result.loss).toBeCloseTo(5.5 + 0.5 * log2, 6);
    expectSlopes(result.slopes, [-1, -1, -0.5, -1, -2, 0]);
    expect(result.tokens).toBe(5);
  });

  it('takes importance sampling as −r·A', () => {
    const result = computeLoss(datum, { logprobs }, { kind: 'importance_sampling' });
    // −3 − 2 − 0.25 + 2 + 1
    expect(result.loss).toBeCloseTo(-2.25, 6);
    expectSlopes(result.slopes, [-3, -2, -0.25, 2, 1, 0]);
  });

  it('holds the PPO ratio only where holding makes the objective smaller', () => {
    const result = computeLoss(datum, { logprobs }, { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 });
    // A=3: −3 · r=2, A=1: held, −1.2 · r=.5, A=1: free, −.5·.5 · r=2, A=−1: free, +2 · r=.5, A=−1: held, 2·.8
    expect(result.loss).toBeCloseTo(-3 - 1.2 - 0.25 + 2 + 1.6, 6);
    expectSlopes(result.slopes, [-3, 0, -0.25, 2, 0, 0]);
    expect(result.sums.clippedTokens).toBe(2);
  });

  it('keeps every token in CISPO and bounds its weight', () => {
    const result = computeLoss(datum, { logprobs }, { kind: 'cispo', clipLow: 0.8, clipHigh: 1.2 });
    const expected =
      -3 * -1 -
      1.2 * (-1 + log2) -
      0.5 * 0.8 * (-1 - log2) +
      1.2 * (-1 + log2) +
      2 * 0.8 * (-1 - log2);
    expect(result.loss).toBeCloseTo(expected, 6);
    expectSlopes(result.slopes, [-3, -1.2, -0.4, 1.2, 1.6, 0]);
    expect(result.sums.clippedTokens).toBe(4);
  });

  it('takes the linear loss as −A·p', () => {
    const result = computeLoss(datum, { logprobs }, { kind: 'linear' });
    expectSlopes(result.slopes, [-3, -1, -0.5, 1, 2, 0]);
    expect(result.loss).toBeCloseTo(
      3 + (1 - log2) + 0.5 * (1 + log2) - (1 - log2) - 2 * (1 + log2),
      6,
    );
  });

  it('sums q − p over weighted tokens as the k1 estimate', () => {
    // −L + L − L + L over the four tokens with ratios 2 and 1/2
    expect(computeLoss(datum, { logprobs }, { kind: 'linear' }).sums.kl).toBeCloseTo(0, 6);
    const { oldLogprobs: _unused, ...without } = datum;
    expect(computeLoss(without, { logprobs }, { kind: 'linear' }).sums.kl).toBeUndefined();
  });

  it('weighs every token with 1 when there are no weights', () => {
    const bare = { input: Int32Array.of(1, 2), target: Int32Array.of(2, 3) };
    const result = computeLoss(
      bare,
      { logprobs: Float32Array.of(-1, -2) },
      { kind: 'cross_entropy' },
    );
    expect(result.loss).toBe(3);
  });

  it('lets nothing above −c·A into a dual clip where the advantage is negative', () => {
    const far = { ...datum, advantages: Float32Array.of(-1, -1, -1, 1, 1, 0) };
    const loss = { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2, dualClip: 1.5 } as const;
    const result = computeLoss(far, { logprobs }, loss);
    // r=1: 1 · r=2: 2 → 1.5 · r=.5: held .8, times .5 · A=1, r=2: −1.2 · A=1, r=.5: −.5, times 2
    expect(result.loss).toBeCloseTo(1 + 1.5 + 0.4 - 1.2 - 1, 6);
    expectSlopes(result.slopes, [1, 0, 0, 0, -1, 0]);
    expect(result.sums.clippedTokens).toBe(3);
  });

  it('gives every token of a GSPO datum the geometric mean of the ratios', () => {
    const loss = { kind: 'gspo', clipLow: 0.8, clipHigh: 1.2 } as const;
    const moved = Float32Array.of(-1, -1 + log2, -1, -1, -1 - log2 / 2, 7);
    const result = computeLoss(datum, { logprobs: moved }, loss);
    // s = 2^((1 − ½)/5) = 2^0.1 = 1.0718, inside the bounds, times weighted advantages 3 + 1 + ½ − 1 − 2.
    expect(result.loss).toBeCloseTo(-1.5 * 2 ** 0.1, 6);
    expectSlopes(
      result.slopes,
      [3, 1, 0.5, -1, -2, 0].map((each) => -each * 2 ** 0.1),
    );
    const above = computeLoss(datum, { logprobs: moved.map((p) => p + log2) }, loss);
    expect(above.loss).toBeCloseTo(-1.2 * (3 + 1 + 0.5) + 2 * 2 ** 0.1 * (1 + 2), 5);
    expectSlopes(above.slopes, [0, 0, 0, 2 * 2 ** 0.1, 4 * 2 ** 0.1, 0]);
    expect(above.sums.clippedTokens).toBe(3);
  });

  it('adds the estimates of the divergence from the reference to the loss', () => {
    const withReference = {
      ...datum,
      weights: Float32Array.of(1, 1, 0.5, 0, 0, 0),
      advantages: new Float32Array(6),
      referenceLogprobs: Float32Array.of(-1, -1, -1, 0, 0, Number.NaN),
    };
    const with_ = (estimator: 'k1' | 'k2' | 'k3') =>
      computeLoss(
        withReference,
        { logprobs },
        { kind: 'linear', kl: { coefficient: 0.1, estimator } },
      );
    // x = 0, L, −L with weights 1, 1, ½.
    expect(with_('k1').loss).toBeCloseTo(0.1 * (log2 - log2 / 2), 6);
    expectSlopes(with_('k1').slopes, [0.1, 0.1, 0.05, 0, 0, 0]);
    expect(with_('k2').loss).toBeCloseTo(0.1 * (log2 ** 2 / 2 + log2 ** 2 / 4), 6);
    expectSlopes(with_('k2').slopes, [0, 0.1 * log2, -0.05 * log2, 0, 0, 0]);
    // k3(L) = ½ + L − 1, k3(−L) = 2 − L − 1
    expect(with_('k3').loss).toBeCloseTo(0.1 * (log2 - 0.5 + (1 - log2) / 2), 6);
    expectSlopes(with_('k3').slopes, [0, 0.1 * 0.5, -0.1 * 0.5, 0, 0, 0]);
    expect(with_('k3').sums.referenceKl).toBeCloseTo(log2 - 0.5 + 1 - log2, 6);
  });

  it('takes the weighted entropy off the loss', () => {
    const entropies = Float32Array.of(1, 2, 3, 4, 5, Number.NaN);
    const free = computeLoss(datum, { logprobs, entropies }, { kind: 'linear' });
    const loss = { kind: 'linear', entropyCoefficient: 0.1 } as const;
    const result = computeLoss(datum, { logprobs, entropies }, loss);
    // 1 + 2 + 3/2 + 4 + 2·5
    expect(free.loss - result.loss).toBeCloseTo(1.85, 6);
    expectSlopes(result.entropySlopes ?? new Float32Array(), [-0.1, -0.1, -0.05, -0.1, -0.2, 0]);
    expect(free.entropySlopes).toBeUndefined();
  });

  const bounds = { clipLow: 0.8, clipHigh: 1.2 };
  const clamped = (ratio: Tensor) => aten('clamp', ratio, bounds.clipLow, bounds.clipHigh);
  const ppo = (ratio: Tensor, advantages: Tensor) =>
    negate(aten('minimum', multiply(ratio, advantages), multiply(clamped(ratio), advantages)));
  type Formula = (of: { p: Tensor; q: Tensor; advantages: Tensor; reference: Tensor }) => Tensor;

  /** The definitions of types/training-service.ts once more, in tensors. */
  const formulas: readonly (readonly [string, TokenLoss, Formula])[] = [
    ['cross entropy', { kind: 'cross_entropy' }, ({ p }) => negate(p)],
    ['linear', { kind: 'linear' }, ({ p, advantages }) => negate(multiply(p, advantages))],
    [
      'importance sampling',
      { kind: 'importance_sampling' },
      ({ p, q, advantages }) => negate(multiply(exp(subtract(p, q)), advantages)),
    ],
    [
      'PPO',
      { kind: 'ppo', ...bounds },
      ({ p, q, advantages }) => ppo(exp(subtract(p, q)), advantages),
    ],
    [
      'PPO with dual clip',
      { kind: 'ppo', ...bounds, dualClip: 1.5 },
      ({ p, q, advantages }) => {
        const single = ppo(exp(subtract(p, q)), advantages);
        const capped = aten('minimum', single, multiply(advantages, -1.5));
        return aten('where.self', aten('lt.Scalar', advantages, 0), capped, single);
      },
    ],
    [
      'CISPO',
      { kind: 'cispo', ...bounds },
      ({ p, q, advantages }) => {
        const held = aten('detach', clamped(exp(subtract(p, q))));
        return negate(multiply(multiply(held, advantages), p));
      },
    ],
    [
      'GSPO',
      { kind: 'gspo', ...bounds },
      ({ p, q, advantages }) => {
        const mean = aten('mean.dim', narrow(subtract(p, q), 0, 0, 5), [0], true);
        const held = aten('detach', exp(mean));
        return ppo(multiply(exp(subtract(p, aten('detach', p))), held), advantages);
      },
    ],
    ...(['k1', 'k2', 'k3'] as const).map((estimator): readonly [string, TokenLoss, Formula] => [
      estimator,
      { kind: 'linear', kl: { coefficient: 0.3, estimator } },
      ({ p, advantages, reference }) => {
        const x = subtract(p, reference);
        const k3 = subtract(add(exp(negate(x)), x), 1);
        const k = { k1: x, k2: multiply(multiply(x, x), 0.5), k3 }[estimator];
        return add(negate(multiply(p, advantages)), multiply(k, 0.3));
      },
    ]),
  ];

  it.each(formulas)(
    'has the value and slopes that autograd gives its formula: %s',
    (_, loss, of) => {
      const finite = (values?: Float32Array) => (values ?? new Float32Array(6)).map((x) => x || 0);
      const withReference = { ...datum, referenceLogprobs: Float32Array.of(-2, -1, 0, -1, -3, 0) };
      const tensor = (values?: Float32Array) => tensorOf(finite(values), [6]);
      const [value, slopes] = tidy(() => {
        const p = requireGrad(tensorOf(logprobs, [6]));
        const terms = of({
          p,
          q: tensor(datum.oldLogprobs),
          advantages: tensor(datum.advantages),
          reference: tensor(withReference.referenceLogprobs),
        });
        const total = sum(multiply(terms, tensor(datum.weights)));
        backward(total);
        return [total.item(), gradOf(p)?.toFloat32Array()] as const;
      });
      const result = computeLoss(withReference, { logprobs }, loss);
      expect(result.loss).toBeCloseTo(value, 5);
      expectSlopes(result.slopes, [...(slopes ?? [])]);
    },
  );

  const kinds: readonly TokenLoss[] = [
    { kind: 'cross_entropy' },
    { kind: 'importance_sampling' },
    { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 },
    { kind: 'linear' },
  ];

  it.each(kinds)('has the slopes that finite differences of its value give: $kind', (loss) => {
    const step = 2 ** -8;
    const { slopes } = computeLoss(datum, { logprobs }, loss);
    logprobs.forEach((value, index) => {
      const at = (moved: number) =>
        computeLoss(datum, { logprobs: logprobs.with(index, moved) }, loss).loss;
      const difference = (at(value + step) - at(value - step)) / (2 * step);
      expect(Math.abs(difference - (slopes[index] ?? 0))).toBeLessThan(1e-4);
    });
  });
});

describe('computePreferenceLoss', () => {
  const datumOf = (...weights: readonly number[]): Datum => ({
    input: new Int32Array(weights.length),
    target: new Int32Array(weights.length),
    weights: Float32Array.from(weights),
    referenceLogprobs: new Float32Array(weights.length).fill(-1),
  });
  const preferred = { datum: datumOf(0, 1, 1), logprobs: Float32Array.of(Number.NaN, -0.5, -0.5) };
  const rejected = { datum: datumOf(1, 1), logprobs: Float32Array.of(-1, -2) };
  // Scores: 0.5 + 0.5 = 1 and 0 − 1 = −1, so Δ = 2; by length 0.5 and −0.5, so Δ = 1.
  const sigma = (x: number) => 1 / (1 + Math.exp(-x));

  it('costs log 2 where the policy is the reference', () => {
    const same = { datum: datumOf(1, 1), logprobs: Float32Array.of(-1, -1) };
    const [first] = computePreferenceLoss(same, same, { kind: 'dpo', beta: 0.2 });
    expect(first.loss).toBeCloseTo(Math.log(2), 9);
    expectSlopes(first.slopes, [-0.1, -0.1]);
    expect(first.sums.correctPairs).toBe(0);
  });

  it('is −log σ(β·Δ), with opposite slopes for the two', () => {
    const loss = { kind: 'dpo', beta: 0.5, pairWeight: 0.25 } as const;
    const [better, worse] = computePreferenceLoss(preferred, rejected, loss);
    expect(better.loss).toBeCloseTo(0.25 * Math.log(1 + Math.exp(-1)), 9);
    const slope = -0.25 * 0.5 * (1 - sigma(1));
    expectSlopes(better.slopes, [0, slope, slope]);
    expectSlopes(worse.slopes, [-slope, -slope]);
    expect([worse.loss, better.sums]).toEqual([0, { pairs: 1, correctPairs: 1, margin: 1 }]);
  });

  it('divides each score by its own weights when it is length-normalised', () => {
    const loss = { kind: 'dpo', beta: 2, isLengthNormalised: true } as const;
    const [better] = computePreferenceLoss(preferred, rejected, loss);
    expect(better.loss).toBeCloseTo(Math.log(1 + Math.exp(-2)), 9);
    expectSlopes(better.slopes, [0, -(1 - sigma(2)), -(1 - sigma(2))]);
  });

  it('mixes in the opposite preference with label smoothing', () => {
    const loss = { kind: 'dpo', beta: 0.5, labelSmoothing: 0.1 } as const;
    const [better] = computePreferenceLoss(preferred, rejected, loss);
    const expected = 0.9 * Math.log(1 + Math.exp(-1)) + 0.1 * Math.log(1 + Math.exp(1));
    expect(better.loss).toBeCloseTo(expected, 9);
    // Flat where σ(βΔ) = 1 − ε: the preference is as strong as the labels are sure.
    const sure = { ...preferred, logprobs: Float32Array.of(0, 0, Math.log(9) * 2 - 3) };
    expectSlopes(computePreferenceLoss(sure, rejected, loss)[0].slopes, [0, 0, 0]);
  });

  it('adds the anchor’s cross-entropy per token of the preferred alone, and says how much that is', () => {
    const loss = { kind: 'dpo', beta: 0.5, pairWeight: 0.25, anchor: 2 } as const;
    // Weights 3 and 1 of log-probabilities −0.5 and −1.5: (1.5 + 1.5) / 4 nats per token, twice, a quarter of it.
    const weighted = {
      datum: datumOf(0, 3, 1),
      logprobs: Float32Array.of(Number.NaN, -0.5, -1.5),
    };
    const [plain] = computePreferenceLoss(weighted, rejected, { ...loss, anchor: 0 });
    const [better, worse] = computePreferenceLoss(weighted, rejected, loss);
    expect(better.loss - plain.loss).toBeCloseTo(0.375, 9);
    expect(better.sums.anchorLoss).toBeCloseTo(0.375, 9);
    const added = better.slopes.map((slope, at) => slope - (plain.slopes[at] ?? 0));
    expectSlopes(added, [0, -0.375, -0.125]);
    expect([worse.loss, worse.sums.anchorLoss]).toEqual([0, 0]);
    expect(plain.sums).not.toHaveProperty('anchorLoss');
  });

  it('has the slopes of finite differences in every log-probability of both', () => {
    const loss = {
      kind: 'dpo',
      ...{ beta: 0.7, labelSmoothing: 0.2, isLengthNormalised: true, anchor: 0.3 },
    } as const;
    const step = 2 ** -8;
    const [better, worse] = computePreferenceLoss(preferred, rejected, loss);
    [better, worse].forEach(({ slopes }, side) => {
      slopes.forEach((slope, index) => {
        if (slope === 0) return;
        const at = (move: number) => {
          const pair = [preferred, rejected].map(({ datum, logprobs }, own) => ({
            datum,
            logprobs: own === side ? logprobs.with(index, (logprobs[index] ?? 0) + move) : logprobs,
          })) as [typeof preferred, typeof preferred];
          return computePreferenceLoss(...pair, loss)[0].loss;
        };
        expect(Math.abs((at(step) - at(-step)) / (2 * step) - slope)).toBeLessThan(1e-4);
      });
    });
  });

  it('stays finite where the margin overflows an exponential', () => {
    const lost = { ...preferred, logprobs: Float32Array.of(0, -1e5, -1e5) };
    const [first] = computePreferenceLoss(lost, rejected, { kind: 'dpo', beta: 1 });
    expect(first.loss).toBeCloseTo(2e5 - 3, 0);
    expectSlopes(first.slopes, [0, -1, -1]);
  });
});

describe('lossNeeds', () => {
  it('names the reference for a divergence and the old values for a value clip', () => {
    const kl = { coefficient: 0.1, estimator: 'k3' } as const;
    expect(lossNeeds({ kind: 'cross_entropy', kl })).toEqual(['referenceLogprobs']);
    expect(lossNeeds({ kind: 'value', clip: 0.2 })).toEqual(['returns', 'oldValues']);
  });
});
