import { expect, test } from 'vitest';
import { playRequests } from './collect.ts';

const task = (id: string) => ({ id, prompt: id });

test('every task is played so many times', () => {
  const plays = playRequests([task('a'), task('b')], 2);
  expect(plays.map(({ task: { id }, sample }) => `${id}/${sample}`)).toEqual([
    'a/0',
    'a/1',
    'b/0',
    'b/1',
  ]);
});

test('a task that comes twice in a step, at the turn of an epoch, never gives two plays one name', () => {
  const plays = playRequests([task('a'), task('b'), task('a')], 2);
  const names = plays.map(({ task: { id }, sample }) => `${id}/${sample}`);
  expect(names).toEqual(['a/0', 'a/1', 'b/0', 'b/1', 'a/2', 'a/3']);
});
