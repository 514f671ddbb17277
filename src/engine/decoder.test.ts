import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  tinyAdapter,
  tinyConfig,
  tinyDecoder,
  tinyTokens,
} from '../../test/support/tiny-decoder.ts';
import { attend, attendComposed } from './attention.ts';
import { backward, gradOf, noGrad } from './autograd.ts';
import {
  createDecoder,
  type Decoder,
  decoderParameters,
  disposeDecoder,
  trainDecoder,
} from './decoder.ts';
import { initialWeights } from './initial-weights.ts';
import {
  type Adapter,
  adapterParameters,
  createAdapter,
  disposeAdapter,
  snapshotAdapter,
} from './lora.ts';
import { sum } from './ops.ts';
import { AdamW } from './optimizer.ts';
import { rotaryFrequencies } from './rotary.ts';
import { tidy } from './scope.ts';
import { liveTensors, type Tensor, tensorOf } from './tensor.ts';
import { type ScoredRow, tokenLogprobs } from './token-logprobs.ts';

const placement = { dtype: 'float32', device: 'cpu' } as const;

let decoder: Decoder;
let adapters: readonly Adapter[];
beforeAll(() => {
  decoder = tinyDecoder();
  adapters = [0, 1].map((seed) => tinyAdapter(decoder, { seed, rank: 3 + seed }));
});
afterAll(() => {
  disposeDecoder(decoder);
  adapters.forEach(disposeAdapter);
});

function rowOf(length: number, seed: number, adapter?: Adapter): ScoredRow {
  const tokens = tinyTokens(length + 1, seed);
  return { input: tokens.slice(0, -1), target: tokens.slice(1), ...(adapter && { adapter }) };
}

function score(rows: readonly ScoredRow[], of = decoder): Float32Array {
  return noGrad(() => tidy(() => tokenLogprobs(of, rows).logprobs.toFloat32Array()));
}

function lossOf(rows: readonly ScoredRow[], of: Decoder): number {
  return score(rows, of).reduce((total, value) => total + value, 0);
}

function expectClose(
  actual: ArrayLike<number>,
  wanted: ArrayLike<number>,
  tolerance: number,
): void {
  expect(actual.length).toBe(wanted.length);
  for (let at = 0; at < wanted.length; at++) {
    expect(Math.abs((actual[at] ?? Number.NaN) - (wanted[at] ?? Number.NaN))).toBeLessThan(
      tolerance,
    );
  }
}

describe('log-probs', () => {
  // Shapes differ between the calls, and with them the order of float32 sums.
  const rounding = 1e-5;

  it('do not depend on what else is in the batch nor on the padding', () => {
    const short = rowOf(7, 1);
    const alone = score([short]);
    const among = score([rowOf(19, 2), short, rowOf(3, 3)]);
    expectClose(among.slice(19, 26), alone, rounding);
  });

  it('do not look at later tokens', () => {
    const row = rowOf(9, 4);
    const changed = { input: Int32Array.from(row.input).fill(5, 6), target: row.target };
    expect(score([changed]).slice(0, 6)).toEqual(score([row]).slice(0, 6));
    expect(score([changed]).slice(6)).not.toEqual(score([row]).slice(6));
  });

  it('are those of the wanted positions only, in order', () => {
    const row = rowOf(6, 5);
    const all = score([row]);
    const result = noGrad(() =>
      tidy(() => {
        const wanted = [0, 1, 0, 0, 1, 0];
        const { logprobs, positions } = tokenLogprobs(decoder, [{ ...row, wanted }]);
        return { logprobs: logprobs.toFloat32Array(), positions };
      }),
    );
    expect(result.positions).toEqual([[1, 4]]);
    expectClose(result.logprobs, [all[1] ?? 0, all[4] ?? 0], rounding);
  });

  it('sum to one over the vocabulary, and the entropy is that of the same distribution', () => {
    const { input } = rowOf(1, 6);
    const rows = Array.from({ length: tinyConfig.vocabSize }, (_, token) => ({
      input,
      target: Int32Array.from([token]),
    }));
    const logprobs = score(rows);
    expect(logprobs.reduce((total, value) => total + Math.exp(value), 0)).toBeCloseTo(1, 5);
    const entropy = noGrad(() =>
      tidy(() => tokenLogprobs(decoder, rows.slice(0, 1), { entropy: 'value' }).entropies?.item()),
    );
    const expected = logprobs.reduce((total, value) => total - Math.exp(value) * value, 0);
    expect(entropy).toBeCloseTo(expected, 4);
  });

  it('of rows with different adapters in one batch equal those of one adapter at a time', () => {
    const [first, second] = adapters;
    const rows = [rowOf(8, 7, first), rowOf(5, 8), rowOf(8, 9, second), rowOf(6, 10, first)];
    const together = score(rows);
    expectClose(
      together,
      rows.flatMap((row) => [...score([row])]),
      rounding,
    );
  });

  it('differ clearly when two adapters are swapped', () => {
    const [first, second] = adapters;
    const right = score([rowOf(8, 7, first), rowOf(8, 9, second)]);
    const swapped = score([rowOf(8, 7, second), rowOf(8, 9, first)]);
    const difference = right.map((value, at) => Math.abs(value - (swapped[at] ?? 0)));
    expect(
      Math.min(Math.max(...difference.slice(0, 8)), Math.max(...difference.slice(8))),
    ).toBeGreaterThan(0.01);
  });

  it('refuse token ids outside the vocabulary and rows that do not fit together', () => {
    const row = rowOf(3, 11);
    expect(() => score([{ ...row, input: Int32Array.from([1, -1, 2]) }])).toThrow(
      'token id -1 at position 1',
    );
    expect(() => score([{ ...row, target: Int32Array.from([1]) }])).toThrow(
      '3 input tokens, 1 targets',
    );
    expect(() => score([])).toThrow('at least one token');
  });
});

describe('an adapter', () => {
  it('changes nothing when it is new', () => {
    const fresh = createAdapter(decoder.config, { rank: 2, seed: 3 });
    expect(score([rowOf(6, 1, fresh)])).toEqual(score([rowOf(6, 1)]));
    const a = adapterParameters(fresh).get(
      'base_model.model.model.layers.0.mlp.down_proj.lora_A.weight',
    );
    const values = a?.toFloat32Array() ?? [];
    expect(Math.max(...values)).toBeLessThan(1 / Math.sqrt(tinyConfig.intermediateSize));
    expect(Math.max(...values)).toBeGreaterThan(0.9 / Math.sqrt(tinyConfig.intermediateSize));
    disposeAdapter(fresh);
  });

  it('changes only the modules that it names', () => {
    const narrow = tinyAdapter(decoder, { seed: 4, targets: ['q_proj', 'down_proj'] });
    const rows = [rowOf(6, 1, narrow), rowOf(6, 1, adapters[0])];
    expect(narrow.modules.size).toBe(4);
    expectClose(
      score(rows),
      rows.flatMap((row) => [...score([row])]),
      1e-5,
    );
    expect(() => createAdapter(decoder.config, { rank: 2, seed: 1, targets: ['proj'] })).toThrow(
      'known are',
    );
    disposeAdapter(narrow);
  });

  it('has the gradient of finite differences', () => {
    const adapter = tinyAdapter(decoder, { seed: 5 });
    const row = rowOf(10, 12, adapter);
    tidy(() => backward(sum(tokenLogprobs(decoder, [row]).logprobs)));
    for (const [name, tensor] of adapterParameters(adapter)) {
      const values = tensor.toFloat32Array();
      const at = values.length >> 1;
      const shifted = [0.01, -0.01].map((shift) => {
        noGrad(() =>
          tensor.copyFrom(Float32Array.from(values, (value, i) => value + (i === at ? shift : 0))),
        );
        return lossOf([row], decoder);
      });
      tensor.copyFrom(values);
      const grad = tidy(() => gradOf(tensor)?.toFloat32Array()[at] ?? Number.NaN);
      const measured = ((shifted[0] ?? 0) - (shifted[1] ?? 0)) / 0.02;
      // Differences over ±0.01 of a float32 sum near 50: rounding is about 1e-3.
      expect([name, Math.abs(grad - measured) < 0.01 + 0.02 * Math.abs(measured)]).toEqual([
        name,
        true,
      ]);
    }
    disposeAdapter(adapter);
  });

  it('trains without touching the base, and its snapshot stays as it was', () => {
    const adapter = tinyAdapter(decoder, { seed: 6 });
    const snapshot = snapshotAdapter(adapter);
    const optimizer = new AdamW(adapterParameters(adapter));
    const row = rowOf(12, 13, adapter);
    const frozen = rowOf(12, 13, snapshot);
    const base = score([rowOf(12, 13)]);
    const before = score([row]);
    for (let step = 0; step < 5; step++) {
      tidy(() => backward(sum(tokenLogprobs(decoder, [row]).logprobs), tensorOf([-1], [])));
      optimizer.step({ learningRate: 1e-2, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0 });
    }
    const gain = lossOf([row], decoder) - before.reduce((total, value) => total + value, 0);
    expect(gain).toBeGreaterThan(5);
    expect(score([frozen])).toEqual(before);
    expect(score([rowOf(12, 13)])).toEqual(base);
    optimizer.dispose();
    disposeAdapter(adapter);
    disposeAdapter(snapshot);
  });
});

describe('the decoder', () => {
  it('is the same for the same seed and another for another', () => {
    const digest = (seed: number) => {
      const made = createDecoder(tinyConfig, initialWeights(tinyConfig, seed, placement));
      const result = score([rowOf(5, 1)], made);
      disposeDecoder(made);
      return [...result];
    };
    expect(digest(1)).toEqual(digest(1));
    expect(digest(1)).not.toEqual(digest(2));
  });

  it.each([
    ['Qwen2, with biases', { architecture: 'qwen2', qkNorm: false, attentionBias: true }],
    [
      'Llama, untied',
      {
        architecture: 'llama',
        qkNorm: false,
        tieWordEmbeddings: false,
        outputBias: true,
        attentionBias: true,
      },
    ],
    [
      'Mistral, one key head per query head',
      { architecture: 'mistral', qkNorm: false, keyValueHeads: 4 },
    ],
  ] as const)('trains all weights of %s, and its named views follow', (_, changes) => {
    const live = liveTensors();
    const own = tinyDecoder(changes);
    const parameters = trainDecoder(own);
    const optimizer = new AdamW(parameters);
    const row = rowOf(12, 14);
    const before = lossOf([row], own);
    for (let step = 0; step < 3; step++) {
      tidy(() => backward(sum(tokenLogprobs(own, [row]).logprobs), tensorOf([-1], [])));
      for (const [name, tensor] of parameters) {
        expect([name, tidy(() => gradOf(tensor) !== undefined)]).toEqual([name, true]);
      }
      optimizer.step({ learningRate: 1e-3, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0 });
    }
    expect(lossOf([row], own)).toBeGreaterThan(before);
    const copies = new Map(
      [...own.weights].map(([name, tensor]) => [
        name,
        tensorOf(tensor.toFloat32Array(), tensor.shape),
      ]),
    );
    const copy = createDecoder(own.config, copies);
    expect(score([row], copy)).toEqual(score([row], own));
    optimizer.dispose();
    disposeDecoder(own);
    disposeDecoder(copy);
    expect(liveTensors()).toBe(live);
  });

  it('leaks nothing over repeated training passes', () => {
    const pass = () =>
      tidy(() =>
        backward(sum(tokenLogprobs(decoder, [rowOf(9, 1, adapters[0]), rowOf(4, 2)]).logprobs)),
      );
    pass();
    const before = liveTensors();
    for (let repeat = 0; repeat < 20; repeat++) pass();
    expect(liveTensors()).toBe(before);
  });

  it('names a weight that is missing', () => {
    const weights = initialWeights(tinyConfig, 1, placement);
    weights.get('model.norm.weight')?.dispose();
    weights.delete('model.norm.weight');
    expect(() => createDecoder(tinyConfig, weights)).toThrow('no weight named model.norm.weight');
    for (const tensor of weights.values()) tensor.dispose();
  });

  it('counts each stored matrix once among its parameters', () => {
    const elements = (tensors: Iterable<Tensor>) =>
      [...tensors].reduce(
        (total, { shape }) => total + shape.reduce((product, size) => product * size, 1),
        0,
      );
    expect(elements(decoderParameters(decoder).values())).toBe(elements(decoder.weights.values()));
  });
});

it('attention without the fused operator gives the same', () => {
  noGrad(() =>
    tidy(() => {
      const part = (heads: number, seed: number) =>
        tensorOf(
          Float32Array.from(tinyTokens(2 * heads * 5 * 8, seed), (token) => token / 50 - 1),
          [2, heads, 5, 8],
        );
      const input = { query: part(4, 1), key: part(2, 2), value: part(2, 3) };
      const mask = tensorOf([0, 0, 0, Number.NEGATIVE_INFINITY, 0], [1, 1, 1, 5]);
      for (const visibility of [{ kind: 'causal' }, { kind: 'mask', mask }] as const) {
        const fused = attend(input, visibility).toFloat32Array();
        expectClose(attendComposed(input, visibility).toFloat32Array(), fused, 1e-6);
      }
    }),
  );
});

describe('rotary frequencies', () => {
  it('fall from one radian per position by powers of theta', () => {
    const frequencies = rotaryFrequencies({ ...tinyConfig, headDim: 4, ropeTheta: 10_000 });
    expectClose(frequencies, [1, 0.01], 1e-8);
  });

  it('are divided by the factor of linear scaling', () => {
    const ropeScaling = { kind: 'linear', factor: 4 } as const;
    expectClose(
      rotaryFrequencies({ ...tinyConfig, headDim: 4, ropeScaling }),
      [0.25, 0.0025],
      1e-8,
    );
  });

  it('of llama3 keep short waves, stretch long ones, and blend between', () => {
    const ropeScaling = {
      kind: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 100,
    } as const;
    // Wavelengths 2π, 62.8 and 628 against the bounds 25 and 100; the middle one blends with
    // (100 / 62.83 − 1) / 3 = 0.19718: (1 − 0.19718) · 0.1 / 8 + 0.19718 · 0.1 = 0.029753.
    const config = { ...tinyConfig, headDim: 6, ropeTheta: 1000, ropeScaling };
    expectClose(rotaryFrequencies(config), [1, 0.029753, 0.00125], 1e-6);
  });
});
