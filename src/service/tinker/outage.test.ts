import { describe, expect, test } from 'vitest';
import { createOutage } from './outage.ts';

/** Told of after 5 s, with a clock that is told the time. */
function outageAt() {
  const [notes, clock] = [[] as string[], { ms: 0 }];
  const how = { afterMs: 5000, note: (text: string) => void notes.push(text) };
  const outage = createOutage('http://server', how, () => clock.ms);
  const at = (ms: number, ...outcome: Parameters<typeof outage.tried>) => {
    clock.ms = ms;
    outage.tried(...outcome);
  };
  return { notes, at };
}

const refused = { interrupted: 'fetch failed: connect ECONNREFUSED', isTimeout: false };
const late = { interrupted: 'timeout', isTimeout: true };
const fine = { status: 200, detail: '' };

test('an outage is told of once when it has lasted, and its end once', () => {
  const { notes, at } = outageAt();
  at(0, fine);
  at(1000, refused);
  at(5999, refused);
  expect(notes).toEqual([]);
  at(6000, { status: 503, detail: 'starting' });
  at(9000, refused);
  expect(notes).toEqual([
    'the server at http://server answers with status 503 starting: trying again',
  ]);
  at(9500, fine);
  at(9600, fine);
  expect(notes[1]).toBe('the server at http://server serves again');
  expect(notes).toHaveLength(2);
});

test('one that is over soon, a busy server and a question that is held open are no word worth', () => {
  const { notes, at } = outageAt();
  at(0, refused);
  at(1000, fine);
  at(60_000, refused);
  at(61_000, { status: 429, detail: 'slow down' });
  at(120_000, late, { isHeld: true });
  at(180_000, late, { isHeld: true });
  expect(notes).toEqual([]);
});

test('a server that lets every request run out of time is told of like one that refuses them', () => {
  const { notes, at } = outageAt();
  at(0, late);
  at(60_000, late);
  expect(notes).toEqual(['the server at http://server gives no answer (timeout): trying again']);
});

describe('the time of work that waits for the server', () => {
  /** A clock that says how often it is held now. */
  function countedClock() {
    const held = { now: 0 };
    const hold = () => {
      held.now += 1;
      return () => {
        held.now -= 1;
      };
    };
    return { held, clock: { hold } };
  }
  const openOutage = () =>
    createOutage('http://server', { afterMs: 5000, note: () => undefined }, () => 0);

  test('stands still from any request’s failure until the server serves, also for work that begins in between', async () => {
    const { tried, timed } = openOutage();
    const { held, clock } = countedClock();
    const ends = Promise.withResolvers<void>();
    const first = timed(clock, () => ends.promise);
    expect(held.now).toBe(0);
    tried(refused);
    tried(refused);
    expect(held.now).toBe(1);
    const second = timed(clock, () => ends.promise);
    expect(held.now).toBe(2);
    tried(fine);
    expect(held.now).toBe(0);
    tried({ status: 503, detail: '' });
    expect(held.now).toBe(2);
    ends.resolve();
    await Promise.all([first, second]);
    expect(held.now).toBe(0);
  });

  test('stands still until its own request gets through, and runs while the server is only busy', async () => {
    const { tried, timed } = openOutage();
    const { held, clock } = countedClock();
    await timed(clock, async (work) => {
      tried(refused, { work });
      tried(fine);
      expect(held.now).toBe(1);
      tried({ status: 429, detail: 'slow down' }, { work });
      expect(held.now).toBe(0);
    });
  });

  test('runs again when the work has failed', async () => {
    const { tried, timed } = openOutage();
    const { held, clock } = countedClock();
    const given = timed(clock, async (work) => {
      tried(refused, { work });
      throw new Error('gone');
    });
    await expect(given).rejects.toThrow('gone');
    expect(held.now).toBe(0);
  });
});
