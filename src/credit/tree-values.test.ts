import { expect, test } from 'vitest';
import { type TreePath, treeValues } from './tree-values.ts';

/** The plays of a tree: grades of the leaves by first action, then by second, then by third. */
function pathsOf(grades: readonly (readonly (readonly number[])[])[]): TreePath[] {
  return grades.flatMap((ofFirst, g) =>
    ofFirst.flatMap((ofSecond, v) =>
      ofSecond.map((value, r) => ({
        actionIds: [`g${g}`, `g${g}v${v}`, `g${g}v${v}r${r}`],
        value,
      })),
    ),
  );
}

/** Figure 1 of the paper: 27 leaves, of whose first branch 5 are right, of the second 5, of the third 2. */
const figure = [
  [
    [1, 1, 0],
    [1, 1, 1],
    [0, 0, 0],
  ],
  [
    [1, 0, 1],
    [1, 0, 0],
    [0, 1, 1],
  ],
  [
    [0, 0, 1],
    [0, 0, 0],
    [1, 0, 0],
  ],
];

test('27 leaves of which 5, 5 and 2 are right give the first actions 5/9, 5/9 and 2/9', () => {
  const values = treeValues(pathsOf(figure));
  expect(values.size).toBe(39);
  expect(values.get('g0')?.value).toBeCloseTo(5 / 9, 12);
  expect(values.get('g1')?.value).toBeCloseTo(5 / 9, 12);
  expect(values.get('g2')?.value).toBeCloseTo(2 / 9, 12);
  expect(values.get('g0')?.leaves).toBe(9);
});

test('a second action is worth the mean of its leaves, a last one its grade', () => {
  const values = treeValues(pathsOf(figure));
  expect(values.get('g0v0')).toEqual({ value: 2 / 3, leaves: 3, parent: 'g0' });
  expect(values.get('g1v1')?.value).toBeCloseTo(1 / 3, 12);
  expect(values.get('g0v0r2')).toEqual({ value: 0, leaves: 1, parent: 'g0v0' });
  expect(values.get('g0')?.parent).toBeUndefined();
});

test('where leaves are missing, every child still counts the same', () => {
  const values = treeValues(pathsOf([[[1], [0, 0, 1]]]));
  expect(values.get('g0')?.value).toBeCloseTo((1 + 1 / 3) / 2, 12);
  expect(values.get('g0')?.leaves).toBe(4);
});

test('plays may end after different numbers of actions', () => {
  const values = treeValues([
    { actionIds: ['a'], value: 1 },
    { actionIds: ['b', 'c'], value: 0 },
    { actionIds: ['b', 'd'], value: 1 },
  ]);
  expect([values.get('a')?.value, values.get('b')?.value]).toEqual([1, 0.5]);
});
