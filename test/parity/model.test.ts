// Against transformers and peft in float32 (make_fixtures.py). Measured on one AVX-512 machine: log-probs within 8e-6,
// gradients within 1e-5 of their largest value; the tolerances leave a factor for other libtorch versions and machines.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backward, gradOf } from '../../src/engine/autograd.ts';
import { type Decoder, disposeDecoder, trainDecoder } from '../../src/engine/decoder.ts';
import { loadAdapter, loadDecoder } from '../../src/engine/load-model.ts';
import { type Adapter, adapterParameters, disposeAdapter } from '../../src/engine/lora.ts';
import { computeLoss } from '../../src/engine/losses.ts';
import { linear, zeros } from '../../src/engine/ops.ts';
import { tidy } from '../../src/engine/scope.ts';
import { type DType, liveTensors, type Tensor, tensorOf } from '../../src/engine/tensor.ts';
import { type ScoredRow, tokenLogprobs } from '../../src/engine/token-logprobs.ts';
import {
  dataOf,
  fixtureDirectory,
  fixtureNames,
  fullParts,
  largestDifference,
  readArrays,
  readExpected,
  relativeDifference,
} from './fixture.ts';

const logprobTolerance = 2e-5;
const gradientTolerance = 5e-5;

function scored(rows: readonly (readonly number[])[], adapter?: Adapter): ScoredRow[] {
  return rows.map((row) => ({
    input: Int32Array.from(row.slice(0, -1)),
    target: Int32Array.from(row.slice(1)),
    ...(adapter === undefined ? {} : { adapter }),
  }));
}

function logprobsOf(decoder: Decoder, rows: readonly ScoredRow[]): Float32Array {
  return tidy(() => tokenLogprobs(decoder, rows).logprobs.toFloat32Array());
}

/** Runs cross entropy over the fixture's data and backward; @returns the loss */
function accumulateGradients(decoder: Decoder, name: string, adapter?: Adapter): number {
  const data = dataOf(readExpected(name));
  return tidy(() => {
    const rows = data.map(({ input, target, weights }) => ({
      input,
      target,
      ...(weights && { wanted: weights }),
      ...(adapter && { adapter }),
    }));
    const { logprobs, positions } = tokenLogprobs(decoder, rows);
    const flat = logprobs.toFloat32Array();
    let start = 0;
    let total = 0;
    const slopes = new Float32Array(flat.length);
    data.forEach(({ input, target, weights = new Float32Array() }, row) => {
      const wanted = positions[row] ?? [];
      const full = new Float32Array(input.length);
      wanted.forEach((at, index) => {
        full[at] = flat[start + index] ?? 0;
      });
      const result = computeLoss(
        { input, target, weights },
        { logprobs: full },
        { kind: 'cross_entropy' },
      );
      total += result.loss;
      wanted.forEach((at, index) => {
        slopes[start + index] = result.slopes[at] ?? 0;
      });
      start += wanted.length;
    });
    backward(logprobs, tensorOf(slopes, [slopes.length]));
    return total;
  });
}

/** libtorch 1.13 has none of float16. */
function hasProductsOf(dtype: DType): boolean {
  try {
    tidy(() => {
      const ones = zeros([2, 2], { dtype });
      linear(ones, ones);
    });
    return true;
  } catch (error) {
    expect(String(error)).toMatch(/not implemented for 'Half'/);
    return false;
  }
}

function gradientOf(parameter: Tensor): Float32Array {
  return tidy(() => gradOf(parameter)?.toFloat32Array() ?? new Float32Array());
}

describe.each(fixtureNames)('%s as transformers computes it', (name) => {
  const expected = readExpected(name);
  let decoder: Decoder;
  let tensorsBefore: number;

  beforeAll(async () => {
    tensorsBefore = liveTensors();
    decoder = await loadDecoder(fixtureDirectory(name), { dtype: 'float32', device: 'cpu' });
  });

  afterAll(() => {
    disposeDecoder(decoder);
    expect(liveTensors()).toBe(tensorsBefore);
  });

  it('gives the log-probabilities of every row', () => {
    scored(expected.rows).forEach((row, index) => {
      const difference = largestDifference(
        logprobsOf(decoder, [row]),
        expected.logprobs[index] ?? [],
      );
      expect(difference).toBeLessThan(logprobTolerance);
    });
  });

  it('gives the same in one padded batch, as transformers does padding on the left', () => {
    const batch = logprobsOf(decoder, scored(expected.rows));
    expect(largestDifference(batch, expected.logprobs.flat())).toBeLessThan(logprobTolerance);
    expect(largestDifference(batch, expected.leftPaddedLogprobs.flat())).toBeLessThan(
      logprobTolerance,
    );
  });

  it("gives the log-probabilities of peft's adapter, next to rows without one", async () => {
    const adapter = await loadAdapter(
      join(fixtureDirectory(name), 'adapter'),
      decoder.config,
      'cpu',
    );
    const mixed = [...scored(expected.rows, adapter), ...scored(expected.rows)];
    const values = logprobsOf(decoder, mixed);
    const wanted = [...expected.adapterLogprobs.flat(), ...expected.logprobs.flat()];
    expect(largestDifference(values, wanted)).toBeLessThan(logprobTolerance);
    disposeAdapter(adapter);
  });

  it("gives peft's gradients of the adapter", async () => {
    const adapter = await loadAdapter(
      join(fixtureDirectory(name), 'adapter'),
      decoder.config,
      'cpu',
    );
    const loss = accumulateGradients(decoder, name, adapter);
    expect(relativeDifference([loss], [expected.losses[0] ?? 0])).toBeLessThan(1e-6);
    const gradients = await readArrays(name, 'gradient/');
    const parameters = adapterParameters(adapter);
    expect([...gradients.keys()].sort()).toEqual([...parameters.keys()].sort());
    for (const [parameter, tensor] of parameters) {
      const difference = relativeDifference(gradientOf(tensor), gradients.get(parameter) ?? []);
      expect(difference, parameter).toBeLessThan(gradientTolerance);
    }
    disposeAdapter(adapter);
  });

  it.for(['bfloat16', 'float16'] as const)(
    'loses no more in %s than transformers does',
    async (dtype, { skip }) => {
      skip(!hasProductsOf(dtype), `this libtorch has no products of ${dtype} on the CPU`);
      const half = await loadDecoder(fixtureDirectory(name), { dtype, device: 'cpu' });
      const ours = logprobsOf(half, scored(expected.rows));
      disposeDecoder(half);
      const exact = expected.logprobs.flat();
      const meanError = (values: ArrayLike<number>) =>
        exact.reduce((sum, p, at) => sum + Math.abs(p - (values[at] ?? Number.NaN)), 0) /
        exact.length;
      const theirs = expected[`${dtype}Logprobs`].flat();
      expect(meanError(ours)).toBeLessThan(1.5 * meanError(theirs));
    },
  );

  it('gives the gradients of all weights', async () => {
    const trained = await loadDecoder(fixtureDirectory(name), { dtype: 'float32', device: 'cpu' });
    const parameters = trainDecoder(trained);
    const loss = accumulateGradients(trained, name);
    expect(relativeDifference([loss], [expected.fullLoss])).toBeLessThan(1e-6);
    const gradients = await readArrays(name, 'full/');
    for (const [parameter, tensor] of parameters) {
      const names = fullParts(parameter);
      const wanted = names.flatMap((each) => Array.from(gradients.get(each) ?? [Number.NaN]));
      const difference = relativeDifference(gradientOf(tensor), wanted);
      expect(difference, parameter).toBeLessThan(gradientTolerance);
    }
    disposeDecoder(trained);
  });
});
