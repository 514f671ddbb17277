import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { tinyDecoder, tinyTokens } from '../../test/support/tiny-decoder.ts';
import { disposeDecoder } from './decoder.ts';
import type { GenerationRequest, SequenceGenerator } from './generation.ts';
import { PaddedGenerator } from './padded-generator.ts';
import { RowGenerator } from './row-generator.ts';
import { liveTensors } from './tensor.ts';

/** Stores that can still be made; one fewer than two for each layer is a failure amid them. */
const memory = vi.hoisted(() => ({ stores: Number.POSITIVE_INFINITY }));

// The machine has the memory: only a store of the cache that is refused shows what a failed step leaves behind.
vi.mock('./ops.ts', async (original) => {
  const ops = await original<typeof import('./ops.ts')>();
  const limited = (make: typeof ops.empty): typeof ops.empty => {
    return (shape, placement) => {
      const isStore = shape.length >= 3 && shape.at(-1) === 32 && (shape[0] ?? 0) > 1;
      if (isStore && memory.stores-- <= 0) throw new Error('out of memory');
      return make(shape, placement);
    };
  };
  return { ...ops, empty: limited(ops.empty), zeros: limited(ops.zeros) };
});

const liveAtStart = liveTensors();
const decoder = tinyDecoder();

beforeEach(() => {
  memory.stores = Number.POSITIVE_INFINITY;
});

afterAll(() => {
  disposeDecoder(decoder);
  expect(liveTensors()).toBe(liveAtStart);
});

const request = (tokens: number): GenerationRequest => {
  return { prompt: tinyTokens(tokens, 3), maxTokens: 5, temperature: 1, seed: 7, stopTokens: [] };
};

function tokensOf(generator: SequenceGenerator, wanted: GenerationRequest): readonly number[] {
  const id = generator.submit(wanted);
  for (let step = 0; step < 100; step++) {
    const found = generator.step().find((result) => result.id === id);
    if (found !== undefined) return [...found.tokens];
  }
  throw new Error('no result after 100 steps');
}

describe.each([
  ['of rows', () => new RowGenerator(decoder)],
  ['of padded batches', () => new PaddedGenerator(decoder)],
] as const)('a generator %s whose cache finds no memory', (_, create) => {
  it.each([0, 1, 3])(
    'samples again once it was disposed of, %i stores having been made',
    (stores) => {
      expect(decoder.config).toMatchObject({ layers: 2, headDim: 32 });
      const whole = create();
      const expected = tokensOf(whole, request(300));
      whole.dispose();
      const generator = create();
      tokensOf(generator, request(20));
      memory.stores = stores;
      expect(() => tokensOf(generator, request(300))).toThrow('out of memory');
      generator.dispose();
      memory.stores = Number.POSITIVE_INFINITY;
      expect(generator.pending).toBe(0);
      expect(tokensOf(generator, request(300))).toEqual(expected);
      generator.dispose();
    },
  );
});
