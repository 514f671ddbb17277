import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { messageWithPlace } from './errors.ts';

/** An error whose stack is as Node writes it. */
function errorWith(stack: string): Error {
  return Object.assign(new Error('broke'), { stack });
}

test('what the user’s code throws is told with its file and line, whatever of ours stands above it', () => {
  const own = pathToFileURL(join(import.meta.dirname, 'rollout', 'play-task.ts')).href;
  const stack = [
    'Error: broke',
    `    at playTask (${own}:10:3)`,
    '    at node:internal/timers:5:1',
    '    at parse (file:///home/me/node_modules/zod/index.js:7:1)',
    '    at async Object.play (file:///home/me/team.config.ts:19:40)',
    '    at file:///home/me/other.ts:2:1',
  ].join('\n');
  expect(messageWithPlace(errorWith(stack))).toBe('broke (team.config.ts:19)');
});

test('a module that cannot be parsed is told with the line at fault', () => {
  const stack = 'file:///home/me/team.config.ts:24\n\nexport defualt {\n\nSyntaxError: broke\n';
  expect(messageWithPlace(errorWith(stack))).toBe('broke (team.config.ts:24)');
});

test('an error in our own code, and what is no error, has no place', () => {
  expect(messageWithPlace(new Error('ours'))).toBe('ours');
  expect(messageWithPlace('a word')).toBe('a word');
});
