import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { numpyChoice } from './numpy-choice.ts';

const fixture = new URL('../../test/parity/fixtures/numpy-choice.json', import.meta.url);
const samples: { seed: number; population: number; chosen: number[] }[] = JSON.parse(
  readFileSync(fixture, 'utf8'),
);

test.each(samples)('seed $seed chooses from $population what numpy chooses', (sample) => {
  const { seed, population, chosen } = sample;
  expect(numpyChoice(population, chosen.length, seed)).toEqual(chosen);
});

test('more than there are is refused with the key to change', () => {
  expect(() => numpyChoice(5, 6, 42)).toThrow(
    '6 tasks cannot be sampled from 5; lower tasks.sample',
  );
});
