import { afterAll, describe, expect, it } from 'vitest';
import { expectSameBits } from '../../test/support/expect-same-bits.ts';
import { tinyAdapter, tinyDecoder, tinyTokens } from '../../test/support/tiny-decoder.ts';
import { noGrad } from './autograd.ts';
import { type Decoder, disposeDecoder } from './decoder.ts';
import type { Generated, GenerationRequest, SequenceGenerator } from './generation.ts';
import { createGenerator } from './generator.ts';
import type { Adapter } from './lora.ts';
import { disposeAdapter } from './lora.ts';
import type { ModelConfig } from './model-config.ts';
import { describeEngine, setThreads } from './native.ts';
import { PaddedGenerator } from './padded-generator.ts';
import { RowGenerator } from './row-generator.ts';
import { tidy } from './scope.ts';
import { liveTensors } from './tensor.ts';
import { tokenLogprobs } from './token-logprobs.ts';

const liveAtStart = liveTensors();

type Model = { readonly decoder: Decoder; readonly adapters: readonly Adapter[] };

function makeModel(changes: Partial<ModelConfig> = {}): Model {
  const decoder = tinyDecoder(changes);
  const adapters = [0, 1, 2].map((seed) =>
    tinyAdapter(decoder, { seed, rank: 4 + 4 * (seed % 2) }),
  );
  return { decoder, adapters };
}

const whole = makeModel();
const { decoder, adapters } = whole;
// Sizes that leave half a vector, and heads that are no more.
const half = makeModel({ hiddenSize: 72, intermediateSize: 104, headDim: 24 });
const narrow = makeModel({ hiddenSize: 24, intermediateSize: 40, headDim: 8 });

afterAll(() => {
  for (const model of [whole, half, narrow]) {
    for (const adapter of model.adapters) disposeAdapter(adapter);
    disposeDecoder(model.decoder);
  }
  expect(liveTensors()).toBe(liveAtStart);
});

/** Requests of many lengths, rules and adapters; the same index always gives the same request. */
function request(index: number, model = whole): GenerationRequest {
  const adapter: Adapter | undefined = model.adapters[index % 4];
  return {
    prompt: tinyTokens(5 + ((index * 29) % 90), index),
    maxTokens: 10 + ((index * 7) % 40),
    temperature: index % 5 === 0 ? 0 : 0.7 + (index % 3) * 0.3,
    ...(index % 6 === 1 && { topK: 5 }),
    ...(index % 7 === 2 && { topP: 0.8 }),
    seed: index,
    stopTokens: index % 3 === 0 ? [1, 2, 3] : [],
    ...(adapter && { adapter }),
  };
}

type Source = { readonly model: Model; readonly make: () => SequenceGenerator };

function rowsOf(model: Model): Source {
  return { model, make: () => createGenerator(model.decoder) };
}

function paddedOf(model: Model): Source {
  return { model, make: () => new PaddedGenerator(model.decoder) };
}

/** Runs requests together; `late` ones join after eight steps. */
function run(
  first: readonly number[],
  late: readonly number[] = [],
  source = rowsOf(whole),
): ReadonlyMap<number, Generated> {
  const generator = source.make();
  const indexOfId = new Map<number, number>();
  const submit = (index: number) =>
    indexOfId.set(generator.submit(request(index, source.model)), index);
  const results = new Map<number, Generated>();
  first.forEach(submit);
  for (let step = 1; generator.pending > 0; step++) {
    for (const result of generator.step()) results.set(indexOfId.get(result.id) ?? -1, result);
    if (step === 8) late.forEach(submit);
  }
  generator.dispose();
  return results;
}

function range(count: number, from = 0): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

function trainerLogprobs(
  index: number,
  tokens: Int32Array,
  model = whole,
  adapter = request(index, model).adapter,
): Float32Array {
  const { prompt } = request(index);
  const sequence = Int32Array.from([...prompt, ...tokens]);
  const row = {
    input: sequence.slice(0, -1),
    target: sequence.slice(1),
    ...(adapter && { adapter }),
  };
  const all = noGrad(() =>
    tidy(() => tokenLogprobs(model.decoder, [row]).logprobs.toFloat32Array()),
  );
  return all.slice(prompt.length - 1);
}

function largestDifference(left: Float32Array, right: Float32Array): number {
  expect(left.length).toBe(right.length);
  return left.reduce((most, value, at) => Math.max(most, Math.abs(value - (right[at] ?? 0))), 0);
}

it('is made by rows that stand for themselves where the decoder allows it', () => {
  for (const model of [whole, half, narrow]) {
    expect(createGenerator(model.decoder)).toBeInstanceOf(RowGenerator);
  }
  const odd = tinyDecoder({ headDim: 20 });
  expect(createGenerator(odd)).toBeInstanceOf(PaddedGenerator);
  disposeDecoder(odd);
});

describe.each([
  ['of rows', rowsOf(whole)],
  ['of rows with half a vector at the end', rowsOf(half)],
  ['of rows with heads of half a vector', rowsOf(narrow)],
  ['of padded batches', paddedOf(whole)],
] as const)('a sequence %s', (_name, source) => {
  const alone = new Map(range(12).map((index) => [index, run([index], [], source).get(index)]));

  // Bit-identical: resume depends on it. Each composition holds all or some of rows 0–11 among others.
  it.each([
    ['all together', range(12), []],
    ['in reverse order', range(12).reverse(), []],
    ['among 48', range(48), []],
    ['among 70, more than fit', range(70).reverse(), []],
    ['joining others that are under way', range(17, 100), range(12)],
    ['joined by others', range(3), range(9, 3)],
    ['next to longer ones', [0, 1, 2, 63, 64, 65], [3]],
  ] as const)('has the same bits %s', (_, first, late) => {
    for (const threads of [1, 2]) {
      setThreads(threads);
      const together = run(first, late, source);
      for (const [index, expected] of alone) {
        const result = together.get(index);
        if (result === undefined) continue;
        expect([index, [...result.tokens]]).toEqual([index, [...(expected?.tokens ?? [])]]);
        expectSameBits(result.logprobs, expected?.logprobs ?? []);
        expect(result.stop).toBe(expected?.stop);
      }
    }
  });

  it('carries the log-probs that the trainer computes', () => {
    for (const [index, result] of run(range(24), [], source)) {
      const expected = trainerLogprobs(index, result.tokens, source.model);
      const difference = largestDifference(result.logprobs, expected);
      expect(difference).toBeLessThan(1e-5);
    }
  });
});

describe('a generated sequence', () => {
  it('shows when the trainer has another adapter', () => {
    const result = run([1]).get(1) as Generated;
    expect(request(1).adapter).toBe(adapters[1]);
    const swapped = trainerLogprobs(1, result.tokens, whole, adapters[2]);
    expect(largestDifference(result.logprobs, swapped)).toBeGreaterThan(0.01);
  });

  it('equals a greedy continuation computed again from the start for every token', () => {
    const result = run([5]).get(5) as Generated;
    const { prompt, adapter } = request(5);
    expect(request(5).temperature).toBe(0);
    for (const [at, token] of result.tokens.slice(0, 8).entries()) {
      const context = Int32Array.from([...prompt, ...result.tokens.slice(0, at)]);
      const candidates = range(decoder.config.vocabSize).map((target) => ({
        input: context,
        target: Int32Array.from([...context.slice(1), target]),
        wanted: Uint8Array.from(context, (_, position) => Number(position === context.length - 1)),
        ...(adapter && { adapter }),
      }));
      const logprobs = noGrad(() =>
        tidy(() => tokenLogprobs(decoder, candidates).logprobs.toFloat32Array()),
      );
      expect(logprobs.indexOf(Math.max(...logprobs))).toBe(token);
    }
  });

  it('ends with the first stop token, which it includes', () => {
    const results = [...run(range(60))].filter(([index]) => index % 3 === 0);
    const stopped = results.filter(([, { stop }]) => stop === 'stop');
    expect(stopped.length).toBeGreaterThan(0);
    for (const [index, { tokens, stop }] of results) {
      const at = tokens.findIndex((token) => [1, 2, 3].includes(token));
      expect(at).toBe(stop === 'stop' ? tokens.length - 1 : -1);
      if (stop === 'length') expect(tokens.length).toBe(request(index).maxTokens);
    }
  });
});

describe.each([
  ['of rows', rowsOf(whole)],
  ['of padded batches', paddedOf(whole)],
] as const)('the generator %s', (_name, source) => {
  it('forgets cancelled requests, waiting or under way, without touching the others', () => {
    const expected = run([4], [], source).get(4);
    const generator = source.make();
    const ids = [3, 4, 6].map((index) => generator.submit(request(index)));
    const waiting = generator.submit(request(7));
    generator.cancel(waiting);
    for (let step = 0; step < 5; step++) generator.step();
    generator.cancel(ids[0] ?? 0);
    generator.cancel(12345);
    const results: Generated[] = [];
    while (generator.pending > 0) results.push(...generator.step());
    generator.dispose();
    expect(results.map(({ id }) => id).sort()).toEqual([ids[1], ids[2]]);
    expect(results.find(({ id }) => id === ids[1])?.logprobs).toEqual(expected?.logprobs);
  });

  it('frees every tensor, also when requests are dropped', () => {
    run([0], [], source);
    const before = liveTensors();
    run(range(20), [], source);
    const generator = source.make();
    for (const index of range(10)) generator.submit(request(index));
    for (let step = 0; step < 6; step++) generator.step();
    generator.dispose();
    expect(liveTensors()).toBe(before);
  });
});

describe('the generator', () => {
  it('refuses what it cannot do', () => {
    const generator = createGenerator(decoder);
    const valid = request(0);
    const submit = (changes: Partial<GenerationRequest>) => () =>
      generator.submit({ ...valid, ...changes });
    expect(submit({ prompt: new Int32Array(0) })).toThrow('the prompt is empty');
    expect(submit({ prompt: Int32Array.from([1, 96]) })).toThrow('token id 96 at position 1');
    expect(submit({ maxTokens: 0 })).toThrow('maxTokens is 0');
    expect(submit({ temperature: -1 })).toThrow('temperature is -1');
    expect(submit({ maxTokens: 508 })).toThrow("do not fit the model's 512 positions");
    expect(generator.pending).toBe(0);
    expect(generator.step()).toEqual([]);
  });
});

it('runs on the threads that the tests asked for', () => {
  setThreads(2);
  expect(describeEngine().threads).toBe(2);
});
