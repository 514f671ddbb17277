import { expect, test } from 'vitest';
import { createOutageNotice } from './outage-notice.ts';

/** A notice after 5 s, with a clock that is told the time. */
function noticeAt() {
  const [notes, clock] = [[] as string[], { ms: 0 }];
  const how = { afterMs: 5000, note: (text: string) => void notes.push(text) };
  const notice = createOutageNotice('http://server', how, () => clock.ms);
  const at = (ms: number, ...outcome: Parameters<typeof notice.tried>) => {
    clock.ms = ms;
    notice.tried(...outcome);
  };
  return { notes, at };
}

const refused = { interrupted: 'fetch failed: connect ECONNREFUSED', isTimeout: false };
const late = { interrupted: 'timeout', isTimeout: true };
const fine = { status: 200, detail: '' };

test('an outage is told of once when it has lasted, and its end once', () => {
  const { notes, at } = noticeAt();
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
  const { notes, at } = noticeAt();
  at(0, refused);
  at(1000, fine);
  at(60_000, refused);
  at(61_000, { status: 429, detail: 'slow down' });
  at(120_000, late, true);
  at(180_000, late, true);
  expect(notes).toEqual([]);
});

test('a server that lets every request run out of time is told of like one that refuses them', () => {
  const { notes, at } = noticeAt();
  at(0, late);
  at(60_000, late);
  expect(notes).toEqual(['the server at http://server gives no answer (timeout): trying again']);
});
