import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectSameBits } from '../../test/support/expect-same-bits.ts';
import { tinyAdapter, tinyDecoder, tinyTokens } from '../../test/support/tiny-decoder.ts';
import { gradOf, noGrad, requireGrad } from './autograd.ts';
import { type Decoder, disposeDecoder, trainDecoder } from './decoder.ts';
import { type Adapter, adapterParameters, disposeAdapter } from './lora.ts';
import { AdamW } from './optimizer.ts';
import { tidy } from './scope.ts';
import { liveTensors, type Tensor } from './tensor.ts';
import {
  type ScoredRow,
  type ScoringOptions,
  tokenLogprobs,
  tokenValues,
} from './token-logprobs.ts';
import {
  createValueHead,
  disposeValueHead,
  type ValueHead,
  valueHeadParameters,
} from './value-head.ts';

let decoder: Decoder;
let adapter: Adapter;
let valueHead: ValueHead;

beforeAll(() => {
  decoder = tinyDecoder();
  adapter = tinyAdapter(decoder, { seed: 1 });
  valueHead = createValueHead(decoder.config, 'cpu');
  valueHead.weight.copyFrom(Float32Array.from({ length: 64 }, (_, at) => Math.sin(at)));
  valueHead.bias.copyFrom(Float32Array.of(0.25));
});

afterAll(() => {
  disposeDecoder(decoder);
  disposeAdapter(adapter);
  disposeValueHead(valueHead);
});

function rowOf(length: number, seed: number, by?: Adapter): ScoredRow {
  const tokens = tinyTokens(length + 1, seed);
  return { input: tokens.slice(0, -1), target: tokens.slice(1), ...(by && { adapter: by }) };
}

const lengths = [9, 4, 4, 17, 1];

function rowsOf(by?: Adapter): ScoredRow[] {
  return lengths.map((length, seed) => rowOf(length, seed, by));
}

type Heads = Readonly<Record<'logprobs' | 'entropies' | 'values', Float32Array>>;

function scoreAll(rows: readonly ScoredRow[]): Heads {
  return noGrad(() =>
    tidy(() => {
      const scored = tokenLogprobs(decoder, rows, { entropy: 'value', valueHead });
      const read = (tensor?: Tensor) => tensor?.toFloat32Array() ?? new Float32Array();
      const { logprobs, entropies, values } = scored;
      return { logprobs: read(logprobs), entropies: read(entropies), values: read(values) };
    }),
  );
}

/** Gradients of everything in `parameters` after one pass with slopes on all three heads. */
function gradientsOf(
  rows: readonly ScoredRow[],
  parameters: ReadonlyMap<string, Tensor>,
  options: ScoringOptions,
): ReadonlyMap<string, Float32Array> {
  const optimizer = new AdamW(parameters);
  const gradients = tidy(() => {
    const scored = tokenLogprobs(decoder, rows, { ...options, entropy: 'gradient', valueHead });
    const count = scored.positions.flat().length;
    const slopes = (scale: number) =>
      Float32Array.from({ length: count }, (_, at) => scale * Math.cos(at));
    scored.backward({ logprobs: slopes(1), entropies: slopes(0.3), values: slopes(-0.7) });
    return new Map(
      [...parameters].map(([name, tensor]) => [
        name,
        gradOf(tensor)?.toFloat32Array() ?? new Float32Array(),
      ]),
    );
  });
  optimizer.zeroGrad();
  optimizer.dispose();
  return gradients;
}

function largestRelative(actual: ReadonlyMap<string, Float32Array>, wanted: typeof actual): number {
  let largest = 0;
  for (const [name, values] of wanted) {
    const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
    const differences = values.map((value, at) =>
      Math.abs(value - (actual.get(name)?.[at] ?? Number.NaN)),
    );
    largest = Math.max(
      largest,
      differences.reduce((most, each) => Math.max(most, each), 0) / scale,
    );
  }
  return largest;
}

describe('packed rows', () => {
  it('have the log-probs, entropies and values that each has alone', () => {
    const together = scoreAll(rowsOf(adapter));
    let start = 0;
    for (const row of rowsOf(adapter)) {
      const alone = scoreAll([row]);
      for (const head of ['logprobs', 'entropies', 'values'] as const) {
        const part = together[head].subarray(start, start + row.input.length);
        const largest = part.reduce(
          (most, value, at) => Math.max(most, Math.abs(value - (alone[head][at] ?? Number.NaN))),
          0,
        );
        expect(largest, head).toBeLessThan(1e-5);
      }
      start += row.input.length;
    }
  });

  it('see nothing of one another: another row changes not one bit', () => {
    const [first, ...others] = rowsOf(adapter) as [ScoredRow, ...ScoredRow[]];
    const changed = others.map(({ input, target }) => ({
      input: input.map(() => 5),
      target,
      adapter,
    }));
    const before = scoreAll([first, ...others]).logprobs.subarray(0, first.input.length);
    const after = scoreAll([first, ...changed]).logprobs.subarray(0, first.input.length);
    expect(after).toEqual(before);
  });

  it('together give the sum of the gradients that each gives alone', () => {
    const parameters = adapterParameters(adapter);
    const rows = rowsOf(adapter).map((row) => ({ ...row }));
    const optimizer = new AdamW(parameters);
    const read = () =>
      new Map(
        [...parameters].map(([name, tensor]) => [
          name,
          tidy(() => gradOf(tensor)?.toFloat32Array() ?? new Float32Array()),
        ]),
      );
    const pass = (some: readonly ScoredRow[]) =>
      tidy(() => {
        const scored = tokenLogprobs(decoder, some);
        scored.backward({ logprobs: new Float32Array(scored.positions.flat().length).fill(1) });
      });
    pass(rows);
    const together = read();
    optimizer.zeroGrad();
    for (const row of rows) pass([row]);
    const apart = read();
    optimizer.zeroGrad();
    optimizer.dispose();
    expect(largestRelative(together, apart)).toBeLessThan(1e-5);
  });
});

describe('positions that nobody wants', () => {
  const halfDecoder = tinyDecoder({ hiddenSize: 72, intermediateSize: 104, headDim: 24 });
  const halfAdapter = tinyAdapter(halfDecoder, { seed: 1 });

  afterAll(() => {
    disposeAdapter(halfAdapter);
    disposeDecoder(halfDecoder);
  });

  /** Gradients from slopes on the last three positions of each row; the others are left out, or wanted and without a slope. */
  function gradientsFrom(
    others: 'left out' | 'without a slope',
    options: ScoringOptions = {},
    model = { decoder, adapter },
  ) {
    const rows = [90, 70, 40].map((length, seed): ScoredRow => {
      const wanted = Float32Array.from({ length }, (_, at) => (at < length - 3 ? 0 : 1));
      const row = rowOf(length, seed, model.adapter);
      return others === 'left out' ? { ...row, wanted } : row;
    });
    const parameters = adapterParameters(model.adapter);
    const optimizer = new AdamW(parameters);
    const gradients = tidy(() => {
      const scored = tokenLogprobs(model.decoder, rows, options);
      const slopes = scored.positions.flatMap((positions, row) =>
        positions.map((at) => (at < (rows[row]?.input.length ?? 0) - 3 ? 0 : Math.cos(at))),
      );
      scored.backward({ logprobs: Float32Array.from(slopes) });
      return [...parameters.values()].map((tensor) => gradOf(tensor)?.toFloat32Array());
    });
    optimizer.zeroGrad();
    optimizer.dispose();
    return gradients;
  }

  type Gradients = ReturnType<typeof gradientsFrom>;

  function expectSameGradients(actual: Gradients, expected: Gradients): void {
    expect(actual.length).toBe(expected.length);
    for (const [index, gradient] of actual.entries()) {
      expectSameBits(gradient ?? [], expected[index] ?? []);
    }
  }

  it('are left out of the last layer without changing a bit of any gradient', () => {
    expectSameGradients(gradientsFrom('left out'), gradientsFrom('without a slope'));
  });

  it('are left out without a change where sizes leave half a vector, too', () => {
    const model = { decoder: halfDecoder, adapter: halfAdapter };
    expectSameGradients(
      gradientsFrom('left out', {}, model),
      gradientsFrom('without a slope', {}, model),
    );
  });

  it('are left out of a checkpointed pass, too', () => {
    const options = { isCheckpointed: true };
    expectSameGradients(gradientsFrom('left out', options), gradientsFrom('without a slope'));
  });
});

describe('gradient checkpointing', () => {
  it('gives the gradients of an adapter and a value head that keeping everything gives', () => {
    const parameters = new Map([...adapterParameters(adapter), ...valueHeadParameters(valueHead)]);
    const rows = rowsOf(adapter);
    const kept = gradientsOf(rows, parameters, {});
    const live = liveTensors();
    const again = gradientsOf(rows, parameters, { isCheckpointed: true });
    expect(liveTensors()).toBe(live);
    expect(largestRelative(again, kept)).toBeLessThan(1e-6);
    expect(kept.get('value_head.bias')?.[0]).not.toBe(0);
  });

  it('gives the gradients of full fine-tuning, tied embedding included', () => {
    const parameters = trainDecoder(decoder);
    const kept = gradientsOf(rowsOf(), parameters, {});
    const again = gradientsOf(rowsOf(), parameters, { isCheckpointed: true });
    for (const tensor of parameters.values()) requireGrad(tensor, false);
    expect(largestRelative(again, kept)).toBeLessThan(1e-6);
  });
});

describe('a value head', () => {
  it('predicts 0 before it is trained', () => {
    const fresh = createValueHead(decoder.config, 'cpu');
    const values = noGrad(() =>
      tidy(() => tokenValues(decoder, rowsOf(), { valueHead: fresh }).values?.toFloat32Array()),
    );
    disposeValueHead(fresh);
    expect(values).toEqual(new Float32Array(35));
  });

  it('has the same predictions alone as beside log-probs', () => {
    const alone = noGrad(() =>
      tidy(() => tokenValues(decoder, rowsOf(), { valueHead }).values?.toFloat32Array()),
    );
    expect(alone).toEqual(scoreAll(rowsOf()).values);
  });
});

describe('all heads together', () => {
  it('have the gradient of finite differences', () => {
    const parameters = adapterParameters(adapter);
    const rows = rowsOf(adapter).slice(0, 2);
    const gradients = gradientsOf(rows, parameters, {});
    const name = 'base_model.model.model.layers.0.mlp.up_proj.lora_B.weight';
    const tensor = parameters.get(name) as Tensor;
    const before = tensor.toFloat32Array();
    const step = 2 ** -9;
    const lossAt = (index: number, move: number) => {
      tensor.copyFrom(before.with(index, (before[index] ?? 0) + move));
      const { logprobs, entropies, values } = scoreAll(rows);
      tensor.copyFrom(before);
      return logprobs.reduce((sum, logprob, at) => {
        const [entropy, value] = [entropies[at] ?? 0, values[at] ?? 0];
        return sum + Math.cos(at) * (logprob + 0.3 * entropy - 0.7 * value);
      }, 0);
    };
    const slopes = gradients.get(name) ?? new Float32Array();
    const largest = slopes.reduce((most, slope) => Math.max(most, Math.abs(slope)), 0);
    for (const index of [0, 101, 700, 1400]) {
      const difference = (lossAt(index, step) - lossAt(index, -step)) / (2 * step);
      expect(Math.abs(difference - (slopes[index] ?? 0))).toBeLessThan(0.01 * largest);
    }
  });
});
