import { expect, test } from 'vitest';
import { splitThinking } from './split-thinking.ts';

test.each([
  ['said only', 'Four.', '', { said: 'Four.', isUnfinished: false }],
  [
    'a thought before the words',
    '<think>\nhm\n</think>\n\nFour.',
    '',
    { thinking: 'hm', said: 'Four.', isUnfinished: false },
  ],
  [
    'a thought that the template opened',
    'hm\n</think>\nFour.',
    '<|im_start|>assistant\n<think>\n',
    { thinking: 'hm', said: 'Four.', isUnfinished: false },
  ],
  [
    'a closing tag alone',
    'hm</think>Four.',
    'assistant',
    { thinking: 'hm', said: 'Four.', isUnfinished: false },
  ],
  [
    'a thought that was cut off',
    'Well. <think>hm',
    '',
    { thinking: 'hm', said: 'Well.', isUnfinished: true },
  ],
  [
    'a thought of the template that was cut off',
    'hm, four is',
    '<think>\n',
    { thinking: 'hm, four is', said: '', isUnfinished: true },
  ],
])('tells thoughts from words: %s', (_, text, observation, parts) => {
  expect(splitThinking(text, observation)).toEqual(parts);
});
