import { expect, test } from 'vitest';
import { countLeaves, forkOf, ownerOf } from './branching.ts';

const threes = [3, 3, 3];

test('three ways at three actions make 27 leaves; a tree without branches is one play', () => {
  expect(countLeaves(threes)).toBe(27);
  expect(countLeaves([])).toBe(1);
});

test('leaf 14 = 1·9 + 1·3 + 2 takes its first action from leaf 9, its second from 12, its third is its own', () => {
  expect([0, 1, 2, 3].map((position) => ownerOf(14, position, threes))).toEqual([9, 12, 14, 14]);
});

test('39 actions are sampled for the 27 leaves: 3 + 9 + 27', () => {
  const leaves = Array.from({ length: 27 }, (_, leaf) => leaf);
  const owned = [0, 1, 2].map(
    (position) => new Set(leaves.map((leaf) => ownerOf(leaf, position, threes))).size,
  );
  expect(owned).toEqual([3, 9, 27]);
});

test('a leaf forks where its last branch is not the first', () => {
  expect([0, 9, 12, 14, 2].map((leaf) => forkOf(leaf, threes))).toEqual([0, 0, 1, 2, 2]);
  expect(forkOf(5, [2, 1, 3])).toBe(2);
});
