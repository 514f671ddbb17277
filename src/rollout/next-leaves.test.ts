import { describe, expect, test } from 'vitest';
import { type Expansion, nextLeaves, type PlayedLeaf } from './next-leaves.ts';

const full: Expansion = { branching: [3, 3, 3], order: 'full' };

function grown(
  expansion: Expansion,
  play: (leaf: number) => PlayedLeaf,
): { readonly waves: readonly (readonly number[])[]; readonly played: number } {
  const played = new Map<number, PlayedLeaf>();
  const waves: (readonly number[])[] = [];
  for (;;) {
    const wave = nextLeaves(played, expansion);
    if (wave.length === 0) return { waves, played: played.size };
    waves.push(wave);
    for (const leaf of wave) played.set(leaf, play(leaf));
  }
}
const right = () => ({ actions: 3, value: 1 });

describe('a full tree', () => {
  test('plays one leaf for each first action, then those that fork after them, breadth first, then the rest', () => {
    const { waves, played } = grown(full, right);
    expect(waves[0]).toEqual([0, 9, 18]);
    expect(waves[1]).toEqual([3, 6, 12, 15, 21, 24, 1, 2, 10, 11, 19, 20]);
    expect(waves.flat().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 27 }, (_, i) => i));
    expect(played).toBe(27);
  });

  test('keeps to a budget', () => {
    expect(grown({ ...full, budget: 7 }, right).waves).toEqual([
      [0, 9, 18],
      [3, 6, 12, 15],
    ]);
  });

  test('is given up after enough leaves of equal value, and not where they differ', () => {
    expect(grown({ ...full, unanimousAfter: 3 }, right).played).toBe(3);
    const mixed = grown({ ...full, unanimousAfter: 3 }, (leaf) => ({
      actions: 3,
      value: leaf === 9 ? 0 : 1,
    }));
    expect(mixed.played).toBe(27);
  });

  test('does not fork where a play had ended, nor after an action that a broken play never took', () => {
    expect(grown(full, () => ({ actions: 2, value: 1 })).played).toBe(9);
    const broken = grown(full, (leaf) => (leaf === 0 ? { actions: 1 } : { actions: 3, value: 1 }));
    // Leaf 0 broke at its second action: 1 and 2 would replay it, 3 and 6 take their own.
    expect(broken.waves.flat()).not.toContain(1);
    expect(broken.waves.flat()).toContain(3);
    expect(broken.played).toBe(25);
  });
});

describe('best-first', () => {
  const bestFirst: Expansion = { branching: [2, 2, 2], order: 'best-first', budget: 4 };

  test('plays every first branch, then goes on where the value is highest, ties to the earlier fork', () => {
    // Leaf 0 is wrong, leaf 4 right. Forks below 4 promise 1 + 1: leaf 6 forks earlier than 5. Once 6 is right too, its
    // first action promises 1 + 1/√2 and the second of leaf 4 still 1 + 1, so leaf 5 is next.
    const { waves } = grown(bestFirst, (leaf) => ({ actions: 3, value: leaf >= 4 ? 1 : 0 }));
    expect(waves).toEqual([[0, 4], [6], [5]]);
  });

  test('leaves what it knows to be bad for what it does not know', () => {
    const { waves } = grown({ ...bestFirst, budget: 5 }, (leaf) => ({
      ...{ actions: 3, value: leaf === 4 ? 1 : 0 },
    }));
    // After 6 and 5 (both wrong) what is left below 4 promises 0 + 1 (leaf 7), like leaf 2, which forks earlier.
    expect(waves).toEqual([[0, 4], [6], [5], [2]]);
  });
});
