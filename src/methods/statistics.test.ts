import { expect, test } from 'vitest';
import { majorityAccuracy, passAtK } from './statistics.ts';

function task(taskId: string, correct: boolean[], answers: (string | undefined)[] = []) {
  return { taskId, correct, answers };
}

test('pass@2 of 1 right in 4 is one half', () => {
  expect(passAtK([task('a', [true, false, false, false])], 2)).toBeCloseTo(0.5, 12);
  expect(passAtK([task('a', [true])], 2)).toBeUndefined();
  expect(passAtK([task('a', [true, true, false])], 2)).toBe(1);
});

test('a majority wins, a tie is shared, and silence does not vote', () => {
  const won = task('a', [true, false, true], ['7', '8', '7']);
  const tied = task('b', [true, false], ['7', '8']);
  const silent = task('c', [true, false], ['7', undefined]);
  expect(majorityAccuracy([won])).toBe(1);
  expect(majorityAccuracy([tied])).toBe(0.5);
  expect(majorityAccuracy([silent])).toBe(1);
  expect(majorityAccuracy([task('d', [false], [undefined])])).toBe(0);
  // The same answer written in two ways is not split.
  const written = task('e', [true, true, false, false], ['080', '80', '7', '8']);
  expect(majorityAccuracy([written])).toBe(1);
});
