import { afterAll, expect, it } from 'vitest';
import { tinyAdapter, tinyDecoder, tinyTokens } from '../../test/support/tiny-decoder.ts';
import { noGrad } from './autograd.ts';
import { disposeDecoder } from './decoder.ts';
import { disposeAdapter } from './lora.ts';
import { tidy } from './scope.ts';
import { scoreRows, type WholeRow } from './score-rows.ts';
import { liveTensors } from './tensor.ts';
import { tokenLogprobs } from './token-logprobs.ts';

const liveAtStart = liveTensors();
const decoder = tinyDecoder();
const adapter = tinyAdapter(decoder, { seed: 1 });
const other = tinyAdapter(decoder, { seed: 2, rank: 8 });

afterAll(() => {
  for (const each of [adapter, other]) disposeAdapter(each);
  disposeDecoder(decoder);
  expect(liveTensors()).toBe(liveAtStart);
});

const prompt = tinyTokens(40, 1);
const after = (length: number, seed: number) =>
  Int32Array.from([...prompt, ...tinyTokens(length, seed)]);
const rows: readonly WholeRow[] = [
  { tokens: after(9, 2) },
  { tokens: after(5, 3) },
  { tokens: tinyTokens(2, 4) },
  { tokens: after(9, 5), adapter },
  { tokens: after(9, 6), adapter },
  { tokens: after(9, 7), adapter: other },
  { tokens: after(9, 2) },
];

it('scores a row with the same bits alone and among rows that begin alike', () => {
  const together = scoreRows(decoder, rows);
  for (const [index, row] of rows.entries()) {
    expect([...(together[index] ?? [])]).toEqual([...(scoreRows(decoder, [row])[0] ?? [])]);
  }
});

it('gives what the trainer computes, and NaN for the first token', () => {
  for (const [index, logprobs] of scoreRows(decoder, rows).entries()) {
    const { tokens, ...rest } = rows[index] as WholeRow;
    const row = { input: tokens.slice(0, -1), target: tokens.slice(1), ...rest };
    const expected = noGrad(() =>
      tidy(() => tokenLogprobs(decoder, [row]).logprobs.toFloat32Array()),
    );
    expect(logprobs.length).toBe(tokens.length);
    expect(logprobs[0]).toBeNaN();
    for (const [at, value] of expected.entries()) {
      expect(Math.abs((logprobs[at + 1] ?? Number.NaN) - value)).toBeLessThan(1e-5);
    }
  }
});
