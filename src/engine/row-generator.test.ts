import { afterAll, describe, expect, it } from 'vitest';
import { tinyAdapter, tinyDecoder, tinyTokens } from '../../test/support/tiny-decoder.ts';
import { noGrad, requireGrad, setGrad } from './autograd.ts';
import { disposeDecoder } from './decoder.ts';
import type { Generated, GenerationRequest, GeneratorOptions } from './generation.ts';
import { bytesPerToken } from './kv-cache.ts';
import { disposeAdapter } from './lora.ts';
import { full, multiply } from './ops.ts';
import { AdamW } from './optimizer.ts';
import { RowGenerator } from './row-generator.ts';
import { tidy } from './scope.ts';
import { liveTensors, type Tensor } from './tensor.ts';

const liveAtStart = liveTensors();
const decoder = tinyDecoder();
const adapter = tinyAdapter(decoder, { seed: 1 });
const other = tinyAdapter(decoder, { seed: 2 });

afterAll(() => {
  for (const each of [adapter, other]) disposeAdapter(each);
  disposeDecoder(decoder);
  expect(liveTensors()).toBe(liveAtStart);
});

function request(prompt: Int32Array, seed: number, changes: Partial<GenerationRequest> = {}) {
  return { prompt, maxTokens: 20, temperature: 1, seed, stopTokens: [], adapter, ...changes };
}

/** Results in the order of the requests. */
function runAll(
  generator: RowGenerator,
  requests: readonly GenerationRequest[],
): readonly Generated[] {
  const ids = requests.map((each) => generator.submit(each));
  const results = new Map<number, Generated>();
  while (generator.pending > 0) {
    for (const result of generator.step()) results.set(result.id, result);
  }
  return ids.map((id) => results.get(id) as Generated);
}

/** What the request gives when nothing else was ever computed. */
function runAlone(one: GenerationRequest, options: GeneratorOptions = {}): Generated {
  const generator = new RowGenerator(decoder, options);
  const [result] = runAll(generator, [one]);
  generator.dispose();
  return result as Generated;
}

function expectSameBits(actual: Generated, expected: Generated): void {
  expect([...actual.tokens]).toEqual([...expected.tokens]);
  expect([...actual.logprobs]).toEqual([...expected.logprobs]);
}

/** Runs `first`, then `second` in the same generator. */
function runAfter(
  first: GenerationRequest,
  second: (result: Generated) => GenerationRequest,
  options: GeneratorOptions & { readonly between?: () => void } = {},
): { readonly result: Generated; readonly request: GenerationRequest; readonly prefilled: number } {
  const generator = new RowGenerator(decoder, options);
  const [earlier] = runAll(generator, [first]);
  options.between?.();
  const next = second(earlier as Generated);
  const before = generator.prefilled;
  const [result] = runAll(generator, [next]);
  const prefilled = generator.prefilled - before;
  generator.dispose();
  return { result: result as Generated, request: next, prefilled };
}

describe('a beginning that is in the cache', () => {
  const prompt = tinyTokens(50, 7);

  it('is computed once for samples of one prompt, whose bits are those of samples alone', () => {
    const generator = new RowGenerator(decoder);
    const requests = [1, 2, 3, 4, 5, 6].map((seed) => request(prompt, seed));
    const results = runAll(generator, requests);
    // The other five compute the last token of the prompt again, for its scores.
    expect(generator.prefilled).toBe(50 + 5);
    generator.dispose();
    for (const [index, result] of results.entries()) {
      expectSameBits(result, runAlone(requests[index] as GenerationRequest));
    }
  });

  it('is taken from the turn before, whose tokens were sampled and not prefilled', () => {
    const nextTurn = (earlier: Generated) =>
      request(Int32Array.from([...prompt, ...earlier.tokens, ...tinyTokens(9, 8)]), 2);
    const { result, request: turn, prefilled } = runAfter(request(prompt, 1), nextTurn);
    // The last sampled token was never fed, so it and the nine that follow it are computed.
    expect(prefilled).toBe(10);
    expectSameBits(result, runAlone(turn));
  });

  it('is taken as far as two prompts agree', () => {
    const changed = Int32Array.from([...prompt.slice(0, 30), ...tinyTokens(25, 9)]);
    expect(changed[30]).not.toBe(prompt[30]);
    const {
      result,
      request: second,
      prefilled,
    } = runAfter(request(prompt, 1), () => request(changed, 2));
    expect(prefilled).toBe(25);
    expectSameBits(result, runAlone(second));
  });

  it.each([
    ['another adapter', { adapter: other }],
    ['the base alone', { adapter: undefined }],
  ] as const)('is not taken for %s', (_, { adapter: changed }) => {
    const second = (): GenerationRequest => {
      const { adapter: _own, ...rest } = request(prompt, 2);
      return { ...rest, ...(changed && { adapter: changed }) };
    };
    const { result, prefilled } = runAfter(request(prompt, 1), second);
    expect(prefilled).toBe(50);
    expectSameBits(result, runAlone(second()));
  });

  it.each([
    ['the adapter', () => [...adapter.modules.values()][0]?.b],
    ['the base', () => decoder.layers[0]?.linears.qkv.weight],
  ] as const)('is not taken after a write to %s', (_, tensorOfWeights) => {
    const write = () => {
      const weights = tensorOfWeights();
      if (weights === undefined) throw new Error('the model has no such weights');
      noGrad(() => tidy(() => weights.copyFrom(multiply(weights, 1.5).toFloat32Array())));
    };
    const second = () => request(prompt, 2);
    const { result, prefilled } = runAfter(request(prompt, 1), second, { between: write });
    expect(prefilled).toBe(50);
    expectSameBits(result, runAlone(second()));
  });

  it('is not taken after a step of the optimiser on the base', () => {
    const weights = decoder.layers[0]?.linears.qkv.weight as Tensor;
    const second = () => request(prompt, 2);
    const { result, prefilled } = runAfter(request(prompt, 1), second, {
      between: () => {
        const optimizer = new AdamW(new Map([['weights', requireGrad(weights)]]));
        tidy(() => setGrad(weights, full(weights.shape, 1)));
        optimizer.step({ learningRate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0 });
        optimizer.dispose();
        requireGrad(weights, false);
      },
    });
    expect(prefilled).toBe(50);
    expectSameBits(result, runAlone(second()));
  });

  it('may be as short as eight tokens', () => {
    const generator = new RowGenerator(decoder);
    const samples = [1, 2, 3].map((seed) => request(tinyTokens(9, 6), seed));
    const results = runAll(generator, samples);
    expect(generator.prefilled).toBe(9 + 1 + 1);
    for (const [index, one] of samples.entries()) {
      expectSameBits(results[index] as Generated, runAlone(one));
    }
    generator.dispose();
  });

  it('is not kept beyond the memory that may be used for it', () => {
    const { prefilled } = runAfter(request(prompt, 1), () => request(prompt, 2), {
      maxRetainedBytes: 0,
    });
    expect(prefilled).toBe(50);
  });
});

describe('a pass', () => {
  const long = request(tinyTokens(200, 3), 1);

  it('may hold any piece of a prompt without changing a bit', () => {
    expectSameBits(runAlone(long, { maxPrefillTokens: 33 }), runAlone(long));
  });

  it('gives every row under way its token while a long prompt is prefilled', () => {
    const generator = new RowGenerator(decoder, { maxPrefillTokens: 20 });
    const short = request(tinyTokens(6, 4), 5, { maxTokens: 5 });
    const shortId = generator.submit(short);
    generator.step();
    generator.submit(long);
    const results: Generated[] = [];
    for (let step = 0; step < 4; step++) results.push(...generator.step());
    expect(results.map(({ id }) => id)).toEqual([shortId]);
    expect(generator.prefilled).toBe(6 + 80);
    generator.dispose();
  });
});

it('takes memory for the tokens there are, however long one prompt is', () => {
  const generator = new RowGenerator(decoder, { maxRows: 20 });
  const short = Array.from({ length: 19 }, (_, index) => request(tinyTokens(10, index), index));
  runAll(generator, [request(tinyTokens(400, 99), 99), ...short]);
  const perToken = bytesPerToken(decoder);
  // 420 tokens of the long one, 30 of each short one; all stay for others that begin alike.
  expect(generator.cacheBytes).toBeGreaterThanOrEqual(perToken * (420 + 19 * 30));
  expect(generator.cacheBytes).toBeLessThan(perToken * 20 * 100 * 1.4);
  generator.dispose();
});
