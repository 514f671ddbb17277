import { describe, expect, test } from 'vitest';
import {
  agents,
  answers,
  answerTo,
  hiddenTable,
  lastMessage,
  operands,
  partOf,
  splitQuestions,
  taskOf,
  viewOf,
} from './language.ts';

describe('a question of split knowledge', () => {
  test('tells each agent its own operands alone, and its part rests on nothing else', () => {
    expect(viewOf('A', '1504')).toBe('15');
    expect(viewOf('B', '1504')).toBe('04');
    expect(partOf('A', [1, 5, 0, 4])).toBe(hiddenTable('A')[1 * operands + 5]);
    expect(partOf('B', [1, 5, 0, 4])).toBe(hiddenTable('B')[0 * operands + 4]);
  });

  test('is answered by the sum of both parts, which the last message spells out', () => {
    const sum = (partOf('A', [1, 5, 0, 4]) + partOf('B', [1, 5, 0, 4])) % answers;
    expect(answerTo([1, 5, 0, 4])).toBe(sum);
    expect(taskOf([1, 5, 0, 4])).toEqual({ id: '1504', prompt: '1504', answer: String(sum) });
    expect(lastMessage(3, 4)).toBe('de2');
  });

  test.each(agents)(
    'gives a guess of %s’s part hardly anything to go by: one part of five is commoner, by one',
    (agent) => {
      const counts = Array.from({ length: answers }, (_, part) => {
        return hiddenTable(agent).filter((one) => one === part).length;
      });
      expect(counts.toSorted()).toEqual([7, 7, 7, 7, 8]);
    },
  );

  test('is held out one time in five, and never trained on then', () => {
    const { train, heldOut } = splitQuestions();
    expect([train.length, heldOut.length]).toEqual([1036, 260]);
    const trained = new Set(train.map((question) => question.join('')));
    expect(heldOut.some((question) => trained.has(question.join('')))).toBe(false);
  });
});
