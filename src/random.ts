import { createHash } from 'node:crypto';

/** A seedable source of numbers; the same seed gives the same sequence on every machine. */
export type Random = {
  /** Uniform in [0, 1). */
  readonly uniform: () => number;
  /** Uniform integer in [0, bound). */
  readonly integer: (bound: number) => number;
};

/**
 * Seedable generator (mulberry32).
 *
 * @param seed any 32-bit integer
 */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return { uniform, integer: (bound) => Math.floor(uniform() * bound) };
}

/**
 * A seed derived from the place where it is used: (run, step, task, sample, action).
 *
 * @returns integer in [0, 2³¹)
 */
export function seedFor(...place: readonly (string | number)[]): number {
  const digest = createHash('sha256').update(JSON.stringify(place)).digest();
  return digest.readUInt32LE(0) & 0x7fffffff;
}

/** The items in a seeded random order (Fisher–Yates); the input is not changed. */
export function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.integer(last + 1);
    const moved = result[last] as Item;
    result[last] = result[other] as Item;
    result[other] = moved;
  }
  return result;
}
