import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { BoundaryError } from '../errors.ts';
import { failureOf, isOfTheRun } from './play-failure.ts';

test('a server that has lost the policies, and a store that fails, end the run and not a play', () => {
  const lost = new BoundaryError('engine', 'it has forgotten this session', { retryable: true });
  expect([lost, new BoundaryError('run', 'the disk is full')].map(isOfTheRun)).toEqual([
    true,
    true,
  ]);
});

test('an engine that refuses a request, a tool that hangs and the play’s own code break the play alone', () => {
  const refused = new BoundaryError('engine', 'the prompt is too long');
  const hanging = new BoundaryError('tool', 'no answer', { retryable: true });
  expect([refused, hanging, new Error('own')].map(isOfTheRun)).toEqual([false, false, false]);
  const { signal } = new AbortController();
  expect(failureOf(refused, signal, 1)).toEqual({ boundary: 'engine', message: refused.message });
  expect(failureOf(new Error('own'), signal, 1)).toEqual({ boundary: 'play', message: 'own' });
});

test('a play that was stopped by its deadline says so, whatever it was waiting for', () => {
  const failure = failureOf(new Error('aborted'), AbortSignal.abort(), 1500);
  expect(failure.message).toBe('took longer than 1.5 s (rollout.playTimeoutSeconds)');
});

test('what the play’s own code throws is told with its file and line, whatever stands above it in the stack', () => {
  const { signal } = new AbortController();
  const told = (stack: string) =>
    failureOf(Object.assign(new Error('broke'), { stack }), signal, 1).message;
  const ours = pathToFileURL(import.meta.filename).href;
  const frames = [
    'Error: broke',
    `    at playTask (${ours}:10:3)`,
    '    at node:internal/timers:5:1',
    '    at parse (file:///home/me/node_modules/zod/index.js:7:1)',
    '    at async Object.play (file:///home/me/team.config.ts:19:40)',
    '    at file:///home/me/other.ts:2:1',
  ];
  expect(told(frames.join('\n'))).toBe('broke (team.config.ts:19)');
  expect(told(frames.slice(0, 4).join('\n'))).toBe('broke');
  // Of what cannot be parsed.
  expect(told('file:///home/me/team.config.ts:24\n\nexport defualt {\n')).toBe(
    'broke (team.config.ts:24)',
  );
});
