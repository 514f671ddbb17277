import { expect, test } from 'vitest';
import { sampleAction, sampleTrajectory } from '../../../test/support/sample-run.ts';
import { recordedValues } from './recorded-values.ts';

/** A play of two actions with the given tokens. */
function play(id: string, first: number, second: number) {
  const actions = [first, second].map((token, turn) =>
    sampleAction(`${id}/${turn}`, { tokens: Int32Array.of(token) }),
  );
  return sampleTrajectory(id, actions);
}

test('plays of a task that began alike share the beginning, those of another task or beginning do not', () => {
  const plays = [
    play('1/t/0', 5, 6),
    play('1/t/1', 5, 7),
    play('1/t/2', 8, 6),
    play('1/u/0', 5, 6),
  ];
  const grades = new Map([
    ['1/t/0', 1],
    ['1/t/1', 0],
    ['1/t/2', 1],
    ['1/u/0', 0],
  ]);
  const values = recordedValues(plays, ({ id }) => grades.get(id));
  expect(Object.fromEntries(values)).toEqual({
    ...{ '1/t/0/0': 0.5, '1/t/0/1': 1, '1/t/1/0': 0.5, '1/t/1/1': 0 },
    ...{ '1/t/2/0': 1, '1/t/2/1': 1, '1/u/0/0': 0, '1/u/0/1': 0 },
  });
});

test('a play without a grade gives its actions no value and takes part in none', () => {
  const plays = [play('1/t/0', 5, 6), play('1/t/1', 5, 7)];
  const values = recordedValues(plays, ({ id }) => (id === '1/t/0' ? 1 : undefined));
  expect([...values]).toEqual([
    ['1/t/0/0', 1],
    ['1/t/0/1', 1],
  ]);
});
