import { afterAll, describe, expect, it } from 'vitest';
import { tinyAdapter, tinyDecoder, tinyTokens } from '../../test/support/tiny-decoder.ts';
import { gradOf, setGrad } from './autograd.ts';
import { disposeDecoder } from './decoder.ts';
import { adapterParameters, disposeAdapter } from './lora.ts';
import { packRows } from './pack-rows.ts';
import { tidy } from './scope.ts';
import { type ScoredRow, type ScoringOptions, tokenLogprobs } from './token-logprobs.ts';

const decoder = tinyDecoder();
const [adapter, other] = [1, 2].map((seed) => tinyAdapter(decoder, { seed })) as [
  ReturnType<typeof tinyAdapter>,
  ReturnType<typeof tinyAdapter>,
];

afterAll(() => {
  for (const each of [adapter, other]) disposeAdapter(each);
  disposeDecoder(decoder);
});

function rowOf(beginning: Int32Array, ending: Int32Array, changes: Partial<ScoredRow> = {}) {
  const all = Int32Array.from([...beginning, ...ending]);
  return { input: all.slice(0, -1), target: all.slice(1), adapter, ...changes };
}

/** Log-probs of all rows, and the gradient of Σ i·logprob_i by the name of the adapter's parameter. */
function scoreAll(passes: readonly (readonly ScoredRow[])[], options: ScoringOptions = {}) {
  for (const tensor of adapterParameters(adapter).values()) setGrad(tensor);
  let entry = 0;
  const logprobs = passes.flatMap((rows) =>
    tidy(() => {
      const scored = tokenLogprobs(decoder, rows, options);
      const values = scored.logprobs.toFloat32Array();
      scored.backward({ logprobs: values.map(() => (entry++ % 7) - 3) });
      return [...values];
    }),
  );
  const gradients = new Map(
    [...adapterParameters(adapter)].map(([name, tensor]) => [
      name,
      tidy(() => gradOf(tensor)?.toFloat32Array() ?? new Float32Array(0)),
    ]),
  );
  return { logprobs, gradients };
}

/** Rounding of float32 sums in another order. */
const rounding = 2e-5;

describe('rows that begin alike', () => {
  const prompt = tinyTokens(40, 1);
  const otherPrompt = Int32Array.from([...prompt.slice(0, 20), ...tinyTokens(25, 2)]);
  const rows = [
    rowOf(prompt, tinyTokens(9, 3)),
    rowOf(otherPrompt, tinyTokens(6, 4)),
    rowOf(prompt, tinyTokens(9, 5)),
    rowOf(tinyTokens(12, 6), tinyTokens(3, 7)),
    rowOf(prompt, tinyTokens(4, 8)),
    rowOf(otherPrompt, tinyTokens(6, 9)),
  ];
  // As long as the first prompt: what follows them is of the same shapes, of one length alone here and of two there.
  const [third, fourth] = [tinyTokens(40, 10), tinyTokens(40, 11)];
  const families = [
    ...rows,
    rowOf(third, tinyTokens(9, 12)),
    rowOf(fourth, tinyTokens(9, 13)),
    rowOf(third, tinyTokens(9, 14)),
    rowOf(fourth, tinyTokens(4, 15)),
    rowOf(tinyTokens(41, 16), new Int32Array(0)),
  ];

  it.each([
    ['at once', {}],
    ['computed again on the way back', { isCheckpointed: true }],
  ] as const)('have the log-probs and gradients of rows on their own, %s', (_, options) => {
    const together = scoreAll([families], options);
    const alone = scoreAll(families.map((row) => [row]));
    expect(together.logprobs.length).toBe(alone.logprobs.length);
    for (const [index, value] of together.logprobs.entries()) {
      expect(Math.abs(value - (alone.logprobs[index] ?? Number.NaN))).toBeLessThan(rounding);
    }
    for (const [name, expected] of alone.gradients) {
      const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expect(largest).toBeGreaterThan(0);
      for (const [index, value] of (together.gradients.get(name) ?? []).entries()) {
        expect(Math.abs(value - (expected[index] ?? Number.NaN))).toBeLessThan(1e-4 * largest);
      }
    }
  });

  it('stand in the pass once', () => {
    const { tokens } = packRows(rows);
    // Of the first prompt 40 tokens, then 8, 8 and 3; of the second 45, then 5 and 5; the row on its own has 14.
    expect(tokens.length).toBe(40 + 8 + 8 + 3 + 45 + 5 + 5 + 14);
  });

  it('stand beside pieces of their shape from other families, each after its own trunk', () => {
    const { blocks } = packRows(families);
    const shapes = blocks.map(({ rows: own, from, length, trunk }) => ({
      ...{ own, from, length },
      ...(trunk && { after: trunk.pieces.map((piece) => blocks[trunk.block]?.rows[piece]) }),
    }));
    expect(shapes).toEqual([
      // The first, third and fourth prompt, and a row on its own that is as long.
      { own: [0, 6, 7, 10], from: 0, length: 40 },
      { own: [0, 2, 6, 8], from: 40, length: 8, after: [0, 6] },
      { own: [4, 9], from: 40, length: 3, after: [0, 7] },
      { own: [1], from: 0, length: 45 },
      { own: [1, 5], from: 45, length: 5, after: [1] },
      { own: [3], from: 0, length: 14 },
      { own: [7], from: 40, length: 8, after: [7] },
    ]);
  });

  it('are told apart by their adapters', () => {
    const [first, second] = [rows[0], { ...rows[2], adapter: other }] as [ScoredRow, ScoredRow];
    const { tokens, owners } = packRows([first, second]);
    expect(tokens.length).toBe(48 + 48);
    expect([...owners]).toEqual([...Array(48).fill(0), ...Array(48).fill(1)]);
  });

  it('share nothing when the common part is short', () => {
    const short = [5, 6].map((seed) => rowOf(prompt.slice(0, 15), tinyTokens(9, seed)));
    expect(packRows(short).tokens.length).toBe(23 + 23);
  });

  it('keep a token of their own when they are equal', () => {
    const [row] = rows as [ScoredRow];
    const { tokens, indexOf } = packRows([row, row]);
    expect(tokens.length).toBe(47 + 1 + 1);
    expect([indexOf(0, 46), indexOf(1, 46), indexOf(0, 47), indexOf(1, 47)]).toEqual([
      46, 46, 47, 48,
    ]);
  });
});
