import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startPlayClock } from './play-clock.ts';

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => vi.useRealTimers());

test('a play’s time runs out, but not while it is held', () => {
  const { deadline, hold } = startPlayClock(100);
  vi.advanceTimersByTime(60);
  const release = hold();
  vi.advanceTimersByTime(1000);
  release();
  vi.advanceTimersByTime(39);
  expect(deadline.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(deadline.aborted).toBe(true);
});

test('time that several hold goes on with the last, however often the others let go', () => {
  const { deadline, hold } = startPlayClock(100);
  const [first, second] = [hold(), hold()];
  first();
  first();
  vi.advanceTimersByTime(1000);
  expect(deadline.aborted).toBe(false);
  second();
  vi.advanceTimersByTime(100);
  expect(deadline.aborted).toBe(true);
});

test('the clock of a play that has ended never goes off, whoever lets go of it later', () => {
  const { deadline, hold, stop } = startPlayClock(100);
  const release = hold();
  stop();
  release();
  vi.advanceTimersByTime(1000);
  expect(deadline.aborted).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
});

test('more time than a timer takes is not less', () => {
  const { deadline, stop } = startPlayClock(2 ** 40);
  vi.advanceTimersByTime(1000);
  expect(deadline.aborted).toBe(false);
  stop();
});
