import { expect, test } from 'vitest';
import { sampleTasks } from './sample-tasks.ts';

const tasks = Array.from({ length: 933 }, (_, index) => ({ id: String(index), prompt: 'p' }));

test('the 512 of 933 problems are those of the published seed, in the order of the file', () => {
  const ids = sampleTasks(tasks, 512).map(({ id }) => Number(id));
  expect(ids).toHaveLength(512);
  // numpy.random.seed(42); numpy.sort(numpy.random.choice(933, 512, replace=False))
  expect(ids.slice(0, 10)).toEqual([0, 2, 3, 5, 6, 7, 9, 10, 11, 12]);
  expect(ids.slice(-5)).toEqual([924, 927, 928, 930, 931]);
});
