import { expect, test } from 'vitest';
import { stopRule } from './stop-strings.ts';

/** Ids are bytes of UTF-8. */
const decode = (tokens: Iterable<number>) => new TextDecoder().decode(Uint8Array.from(tokens));
const bytesOf = (text: string) => [...new TextEncoder().encode(text)];

/** How many tokens of the text are sampled before the rule ends it. */
function endOf(text: string, stopStrings: readonly string[]): number {
  const isEnd = stopRule(stopStrings, decode);
  const tokens = bytesOf(text);
  return tokens.findIndex((_, last) => isEnd(tokens.slice(0, last + 1))) + 1;
}

test('ends at the token that completes the first of the texts', () => {
  expect(endOf('a END b', ['END', 'b'])).toBe(5);
  expect(endOf('a EN b', ['END', 'b'])).toBe(6);
  expect(endOf('a EN', ['END'])).toBe(0);
});

test('finds characters of several bytes only when they are whole', () => {
  expect(endOf('ä€ö', ['€'])).toBe(5);
  expect(endOf('ä€', ['ä€'])).toBe(5);
});

test('refuses an empty text and a service without a tokenizer', () => {
  expect(() => stopRule([''], decode)).toThrow(/stop string is empty/);
  expect(() => stopRule(['a'], undefined)).toThrow(/`decode`/);
});
