/**
 * The largest differences between the engine and transformers, peft and torch on the fixtures of test/parity:
 * `npm run bench:parity -- --json`
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAdapterFolder } from '../src/engine/adapter-folder.ts';
import { gradOf } from '../src/engine/autograd.ts';
import { type Decoder, disposeDecoder, trainDecoder } from '../src/engine/decoder.ts';
import { loadAdapter, loadDecoder } from '../src/engine/load-model.ts';
import { type Adapter, adapterParameters, disposeAdapter } from '../src/engine/lora.ts';
import { tidy } from '../src/engine/scope.ts';
import type { DType, Tensor } from '../src/engine/tensor.ts';
import { type ScoredRow, tokenLogprobs } from '../src/engine/token-logprobs.ts';
import { createLocalTrainingService } from '../src/service/local/local-training-service.ts';
import {
  dataOf,
  type Expected,
  fixtureDirectory,
  fixtureNames,
  fullParts,
  largestDifference,
  readArrays,
  readExpected,
  relativeDifference,
} from '../test/parity/fixture.ts';
import { readFlags } from './support/read-flags.ts';

type Errors = Readonly<Record<string, number>>;

const values = readFlags('parity', {
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});

function rowsOf({ rows }: Expected, adapter?: Adapter): ScoredRow[] {
  return rows.map((row) => ({
    input: Int32Array.from(row.slice(0, -1)),
    target: Int32Array.from(row.slice(1)),
    ...(adapter && { adapter }),
  }));
}

function logprobsOf(decoder: Decoder, rows: readonly ScoredRow[]): Float32Array {
  return tidy(() => tokenLogprobs(decoder, rows).logprobs.toFloat32Array());
}

/** One backward pass of the fixture's cross entropy. */
function accumulate(decoder: Decoder, expected: Expected, adapter?: Adapter): void {
  tidy(() => {
    const scored = tokenLogprobs(decoder, rowsOf(expected, adapter));
    scored.backward({ logprobs: Float32Array.from(expected.weights.flat(), (weight) => -weight) });
  });
}

function gradientOf(tensor: Tensor): Float32Array {
  return tidy(() => gradOf(tensor)?.toFloat32Array() ?? new Float32Array());
}

async function scoringErrors(name: string, expected: Expected): Promise<Errors> {
  const decoder = await loadDecoder(fixtureDirectory(name), { dtype: 'float32', device: 'cpu' });
  const adapter = await loadAdapter(join(fixtureDirectory(name), 'adapter'), decoder.config, 'cpu');
  const batch = logprobsOf(decoder, rowsOf(expected));
  const mixed = logprobsOf(decoder, [...rowsOf(expected, adapter), ...rowsOf(expected)]);
  const alone = rowsOf(expected, adapter).flatMap((row) => [...logprobsOf(decoder, [row])]);
  accumulate(decoder, expected, adapter);
  const gradients = await readArrays(name, 'gradient/');
  const lora = [...adapterParameters(adapter)].map(([parameter, tensor]) =>
    relativeDifference(gradientOf(tensor), gradients.get(parameter) ?? []),
  );
  const errors = {
    'log-probs': largestDifference(batch, expected.logprobs.flat()),
    'log-probs, left-padded batch': largestDifference(batch, expected.leftPaddedLogprobs.flat()),
    'log-probs, adapter beside base rows': largestDifference(
      mixed.subarray(0, alone.length),
      expected.adapterLogprobs.flat(),
    ),
    'adapters in one batch against one at a time': largestDifference(
      mixed.subarray(0, alone.length),
      alone,
    ),
    'LoRA gradients, relative': Math.max(...lora),
  };
  disposeAdapter(adapter);
  disposeDecoder(decoder);
  return errors;
}

async function fullErrors(name: string, expected: Expected): Promise<Errors> {
  const decoder = await loadDecoder(fixtureDirectory(name), { dtype: 'float32', device: 'cpu' });
  const parameters = trainDecoder(decoder);
  accumulate(decoder, expected);
  const gradients = await readArrays(name, 'full/');
  const errors = [...parameters].map(([parameter, tensor]) => {
    const wanted = fullParts(parameter).flatMap((part) => [
      ...(gradients.get(part) ?? [Number.NaN]),
    ]);
    return relativeDifference(gradientOf(tensor), wanted);
  });
  disposeDecoder(decoder);
  return { 'full gradients, relative': Math.max(...errors) };
}

async function trainingErrors(name: string, expected: Expected): Promise<Errors> {
  const service = await createLocalTrainingService({ modelDirectory: fixtureDirectory(name) });
  const directory = await mkdtemp(join(tmpdir(), 'teamtune-parity-'));
  try {
    const from = { directory: join(fixtureDirectory(name), 'adapter'), optimizer: false };
    const policy = await service.createPolicy({ id: 'a', seed: 1, rank: 4, alpha: 8, from });
    const samplers = [await service.baseSampler(), await policy.publish().result];
    const greedy = { maxTokens: 24, temperature: 0, seed: 0, stopTokens: [] };
    const sampled = await Promise.all(
      samplers.flatMap((sampler) =>
        expected.rows.map((row) => sampler.sample(Int32Array.from(row), greedy)),
      ),
    );
    const wrong = [...expected.greedy, ...expected.adapterGreedy].filter(
      (tokens, row) => tokens.join() !== sampled[row]?.tokens.join(),
    );
    const losses: number[] = [];
    for (const loss of expected.losses) {
      const pass = policy.forwardBackward(dataOf(expected), { kind: 'cross_entropy' });
      await policy.optimStep(expected.adam).result;
      losses.push(relativeDifference([(await pass.result).metrics.loss ?? Number.NaN], [loss]));
    }
    await policy.exportAdapter(join(directory, 'adapter'));
    const trained = await loadAdapterFolder(join(directory, 'adapter'), service.config);
    const after = await readArrays(name, 'after/');
    const weights = [...trained.modules].flatMap(([path, { a, b }]) => [
      relativeNorm(a, after.get(`base_model.model.${path}.lora_A.weight`) ?? []),
      relativeNorm(b, after.get(`base_model.model.${path}.lora_B.weight`) ?? []),
    ]);
    return {
      'greedy sequences that differ': wrong.length,
      'losses of three AdamW steps, relative': Math.max(...losses),
      'weights after them, relative': Math.max(...weights),
    };
  } finally {
    await service.close();
    await rm(directory, { recursive: true });
  }
}

/** |difference| / |expected|, Euclidean, of a whole tensor. */
function relativeNorm(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  const norm = (of: (at: number) => number) =>
    Math.sqrt(
      Array.from(expected, (_, at) => of(at) ** 2).reduce((sum, square) => sum + square, 0),
    );
  const difference = norm((at) => (actual[at] ?? Number.NaN) - (expected[at] ?? Number.NaN));
  return difference / norm((at) => expected[at] ?? Number.NaN);
}

async function halfErrors(name: string, expected: Expected): Promise<Errors> {
  const exact = expected.logprobs.flat();
  const errors: Record<string, number> = {};
  for (const dtype of ['bfloat16', 'float16'] as const satisfies readonly DType[]) {
    const decoder = await loadDecoder(fixtureDirectory(name), { dtype, device: 'cpu' });
    const ours = logprobsOf(decoder, rowsOf(expected));
    disposeDecoder(decoder);
    const theirs = expected[`${dtype}Logprobs`].flat();
    errors[`${dtype}, mean error`] = meanDifference(ours, exact);
    errors[`${dtype}, mean error of transformers`] = meanDifference(theirs, exact);
    errors[`${dtype}, largest error`] = largestDifference(ours, exact);
    errors[`${dtype}, largest error of transformers`] = largestDifference(theirs, exact);
  }
  return errors;
}

function meanDifference(left: ArrayLike<number>, right: readonly number[]): number {
  const sum = right.reduce(
    (total, value, at) => total + Math.abs(value - (left[at] ?? Number.NaN)),
    0,
  );
  return sum / right.length;
}

const byModel: Record<string, Errors> = {};
for (const name of fixtureNames) {
  const expected = readExpected(name);
  byModel[name] = {
    ...(await scoringErrors(name, expected)),
    ...(await fullErrors(name, expected)),
    ...(await trainingErrors(name, expected)),
    ...(await halfErrors(name, expected)),
  };
}
const names = Object.keys(byModel[fixtureNames[0]] ?? {});
const table = names.map((what) => ({
  what,
  ...Object.fromEntries(fixtureNames.map((model) => [model, byModel[model]?.[what] ?? Number.NaN])),
}));
if (!values.json) {
  console.log(
    `| what | ${fixtureNames.join(' | ')} |\n|---|${fixtureNames.map(() => '---|').join('')}`,
  );
  for (const { what, ...row } of table) {
    const cells = Object.values(row).map((value) =>
      value === 0 ? '0' : Number(value).toExponential(1),
    );
    console.log(`| ${what} | ${cells.join(' | ')} |`);
  }
}
if (values.json) console.log(JSON.stringify(byModel));
