import { expect, test } from 'vitest';
import { opensThought, splitThinking } from './split-thinking.ts';

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
  const { said, ...rest } = splitThinking(text, { isThinking: opensThought(observation) });
  expect({ ...rest, said: said.trim() }).toEqual(parts);
});

const fence = (code: string) => `\`\`\`python\n${code}\n\`\`\``;

test.each([
  fence('print("</think>")'),
  `Run:\n${fence('text = "<think>hm</think>"\nprint(text)')}\nDone.`,
  '<tool_call>{"name": "python", "arguments": {"code": "print(\'</think>\')"}}</tool_call>',
])('a tag in code outside of thoughts is code: %s', (text) => {
  expect(splitThinking(text)).toEqual({ said: text, isUnfinished: false });
  expect(splitThinking(`<think>hm</think>${text}`)).toMatchObject({ thinking: 'hm', said: text });
});

test('a tag in the code of a thought ends it, and what follows up to the real end is thought all the same', () => {
  const thought = `<think>${fence('print("</think>")\nrun()')}\nhm</think>Four.`;
  expect(splitThinking(thought)).toMatchObject({ said: 'Four.', isUnfinished: false });
  expect(splitThinking(`${fence('run()')}\n</think>Four.`)).toMatchObject({ said: 'Four.' });
});
