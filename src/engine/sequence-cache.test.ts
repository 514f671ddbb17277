import { afterAll, beforeEach, expect, it } from 'vitest';
import { tinyDecoder } from '../../test/support/tiny-decoder.ts';
import { aten } from './aten.ts';
import { disposeDecoder } from './decoder.ts';
import { bytesPerToken } from './kv-cache.ts';
import { narrow } from './ops.ts';
import { tidy } from './scope.ts';
import { SequenceCache } from './sequence-cache.ts';
import { liveTensors } from './tensor.ts';

const liveAtStart = liveTensors();
const decoder = tinyDecoder();
const lastLayer = decoder.config.layers - 1;
let cache = new SequenceCache(decoder);

beforeEach(() => {
  cache.dispose();
  cache = new SequenceCache(decoder);
});

afterAll(() => {
  cache.dispose();
  disposeDecoder(decoder);
  expect(liveTensors()).toBe(liveAtStart);
});

/** Writes the numbers from `first` on as the keys of a slot's tokens, and their negatives as values. */
function fill(slot: number, first: number, count: number): void {
  const { keys, values } = cache.store(lastLayer);
  for (let token = 0; token < count; token++) {
    const place = cache.startOf(slot) + token;
    tidy(() => {
      aten('fill_.Scalar', narrow(keys, 0, place, 1), first + token);
      aten('fill_.Scalar', narrow(values, 0, place, 1), -first - token);
    });
  }
}

/** What the keys of a slot's first tokens are; the values must be their negatives. */
function read(slot: number, count: number): readonly number[] {
  const { keys, values } = cache.store(lastLayer);
  const firstOf = (store: typeof keys, token: number) =>
    tidy(() => narrow(store, 0, cache.startOf(slot) + token, 1).toFloat32Array()[0] ?? Number.NaN);
  return Array.from({ length: count }, (_, token) => {
    expect(firstOf(values, token)).toBe(-firstOf(keys, token));
    return firstOf(keys, token);
  });
}

const places = () => cache.bytes / bytesPerToken(decoder);

it('keeps what slots hold while they grow past one another', () => {
  for (const slot of [0, 1, 2]) {
    cache.reserve(slot, 3);
    fill(slot, 100 * (slot + 1), 3);
  }
  for (const tokens of [20, 50, 120]) {
    for (const slot of [1, 0, 2]) cache.reserve(slot, tokens + slot);
  }
  expect([0, 1, 2].map((slot) => read(slot, 3))).toEqual([
    [100, 101, 102],
    [200, 201, 202],
    [300, 301, 302],
  ]);
  const starts = [0, 1, 2].map((slot) => cache.startOf(slot)).sort((one, other) => one - other);
  expect(starts[1]).toBeGreaterThanOrEqual((starts[0] ?? 0) + 120);
  expect(starts[2]).toBeGreaterThanOrEqual((starts[1] ?? 0) + 120);
});

it('copies the beginning of one slot to another', () => {
  cache.reserve(4, 5);
  fill(4, 7, 5);
  cache.reserve(9, 40);
  cache.copy(4, 9, 3);
  expect(read(9, 3)).toEqual([7, 8, 9]);
  expect(read(4, 5)).toEqual([7, 8, 9, 10, 11]);
});

it('takes memory for the tokens that are held, not for the longest in every slot', () => {
  cache.reserve(0, 1600);
  for (let slot = 1; slot <= 10; slot++) cache.reserve(slot, 16);
  // 1760 tokens; a third more at most when the store was last made anew.
  expect(places()).toBeLessThan(2400);
});

it('uses what was trimmed and released again', () => {
  cache.reserve(0, 320);
  fill(0, 50, 16);
  cache.trim(0, 10);
  const before = places();
  cache.reserve(1, 304);
  expect(places()).toBe(before);
  cache.release(1);
  cache.reserve(2, 304);
  expect(places()).toBe(before);
  expect(read(0, 10)).toEqual([50, 51, 52, 53, 54, 55, 56, 57, 58, 59]);
});

it('pushes what it holds together where no free stretch is long enough but a quarter is free', () => {
  for (let slot = 0; slot < 8; slot++) {
    cache.reserve(slot, 64);
    fill(slot, 1000 * slot, 2);
  }
  const before = places();
  for (const slot of [0, 2, 4, 6]) cache.release(slot);
  cache.reserve(8, 128);
  expect(places()).toBe(before);
  expect([1, 3, 5, 7].map((slot) => read(slot, 2))).toEqual([
    [1000, 1001],
    [3000, 3001],
    [5000, 5001],
    [7000, 7001],
  ]);
});

it('is of one size under a load that comes again and again', () => {
  const sizes: number[] = [];
  for (let round = 0; round < 100; round++) {
    const phase = round % 10;
    for (let slot = 0; slot < 12; slot++) {
      cache.reserve(slot, 20 + ((slot * 37 + phase * 11) % 200));
      cache.trim(slot, 10 + ((slot * 37 + phase * 11) % 100));
      if ((slot + phase) % 5 === 0) cache.release(slot);
    }
    sizes.push(places());
  }
  expect(sizes.at(-1)).toBe(sizes[29]);
});
