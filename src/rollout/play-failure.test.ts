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
