import { APICallError } from 'ai';
import { expect, test } from 'vitest';
import { CircuitBreaker } from './circuit-breaker.ts';

const unavailable = (after: string) =>
  new APICallError({
    ...{ message: 'overloaded', url: 'u', requestBodyValues: {}, statusCode: 503 },
    responseHeaders: { 'retry-after-ms': after },
  });

function breakerWith(patienceMs: number) {
  const said: string[] = [];
  const onPause = (sentence: string) => void said.push(sentence);
  return { said, breaker: new CircuitBreaker({ name: 'judge', patienceMs, onPause }) };
}

const failTimes = (breaker: CircuitBreaker, times: number, after = '0') => {
  for (let failure = 0; failure < times; failure++) breaker.failed(unavailable(after));
};

test('seven failures in a row, or eight with an answer between, hold nobody back', async () => {
  const { breaker } = breakerWith(60_000);
  failTimes(breaker, 7);
  breaker.succeeded();
  failTimes(breaker, 7);
  expect(await breaker.admit(undefined)).toBe(false);
});

test('in an outage one probe at a time is let through, and the first answer frees everyone', async () => {
  const { breaker, said } = breakerWith(60_000);
  failTimes(breaker, 8);
  expect(said[0]).toMatch(
    /^paused: waiting for the coach judge \(HTTP 503: overloaded\); next try/,
  );
  const admitted: number[] = [];
  const waiting = [0, 1, 2].map(async (caller) => {
    await breaker.admit(undefined);
    admitted.push(caller);
  });
  await waiting[0];
  await new Promise(setImmediate);
  expect(admitted).toEqual([0]);
  breaker.succeeded();
  await Promise.all(waiting);
  expect(said.at(-1)).toBe('the coach judge answers again after 0 s');
  expect(breaker.isOpen).toBe(false);
});

test('a probe that fails or is given up hands over to the next', async () => {
  const { breaker } = breakerWith(60_000);
  failTimes(breaker, 8);
  await breaker.admit(undefined);
  const next = breaker.admit(undefined);
  failTimes(breaker, 1);
  await next;
  const last = breaker.admit(undefined);
  breaker.abandoned();
  expect(await last).toBe(true);
});

test('calls that were under way when the outage began do not lengthen it', () => {
  const { breaker, said } = breakerWith(60_000);
  failTimes(breaker, 20);
  expect(said).toHaveLength(1);
});

test('an outage that lasts longer than the run’s patience stops it, resumably', async () => {
  const { breaker } = breakerWith(5_000);
  failTimes(breaker, 8, '6000');
  const admitted = breaker.admit(undefined);
  await expect(admitted).rejects.toMatchObject({ boundary: 'coach', retryable: true });
  await expect(admitted).rejects.toThrow(
    /after the 5 s of coaching\.outageSeconds: the run stops here.*--resume/,
  );
});

test('a caller who stops waits no longer', async () => {
  const { breaker } = breakerWith(60_000);
  failTimes(breaker, 8, '50000');
  const stop = new AbortController();
  const admitted = breaker.admit(stop.signal);
  stop.abort(new Error('stopped'));
  await expect(admitted).rejects.toThrow('stopped');
});
