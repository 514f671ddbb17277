import { BoundaryError } from '../errors.ts';

const STATE_WORDS = 624;
const SHIFT = 397;

/** 32-bit words of the Mersenne Twister, seeded as `numpy.random.seed(integer)` does. */
function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(STATE_WORDS);
  state[0] = seed;
  for (let word = 1; word < STATE_WORDS; word++) {
    const before = state[word - 1] as number;
    state[word] = Math.imul(1812433253, before ^ (before >>> 30)) + word;
  }
  let position = STATE_WORDS;
  return () => {
    if (position === STATE_WORDS) {
      twist(state);
      position = 0;
    }
    return temper(state[position++] as number);
  };
}

function twist(state: Uint32Array): void {
  for (let word = 0; word < STATE_WORDS; word++) {
    const next = state[(word + 1) % STATE_WORDS] as number;
    const mixed = ((state[word] as number) & 0x80000000) | (next & 0x7fffffff);
    const shifted = state[(word + SHIFT) % STATE_WORDS] as number;
    state[word] = shifted ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
  }
}

function temper(word: number): number {
  let tempered = word ^ (word >>> 11);
  tempered ^= (tempered << 7) & 0x9d2c5680;
  tempered ^= (tempered << 15) & 0xefc60000;
  return (tempered ^ (tempered >>> 18)) >>> 0;
}

/** Uniform in [0, most]: words are masked to the least power of two above `most`, those too large thrown away. */
function boundedBy(most: number, nextWord: () => number): number {
  const mask = 2 ** (32 - Math.clz32(most)) - 1;
  while (true) {
    const value = (nextWord() & mask) >>> 0;
    if (value <= most) return value;
  }
}

/**
 * `numpy.random.seed(seed); numpy.random.choice(population, count, replace=False)`, number for number: a shuffle of all
 * indices from the back, of which the first `count` are taken.
 *
 * @param seed 0 to 2³² − 1
 * @returns indices in the order in which numpy gives them
 * @throws BoundaryError("task") when more are asked for than there are
 * @see numpy's RandomState (frozen, NEP 19); parity: test/parity/fixtures/numpy-choice.json
 */
export function numpyChoice(population: number, count: number, seed: number): number[] {
  if (count > population) {
    throw new BoundaryError(
      'task',
      `${count} tasks cannot be sampled from ${population}; lower tasks.sample`,
    );
  }
  const nextWord = mersenneTwister(seed);
  const indices = Array.from({ length: population }, (_, index) => index);
  for (let last = population - 1; last > 0; last--) {
    const other = boundedBy(last, nextWord);
    const moved = indices[last] as number;
    indices[last] = indices[other] as number;
    indices[other] = moved;
  }
  return indices.slice(0, count);
}
