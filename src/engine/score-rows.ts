import { type AdapterRun, adapterRuns } from './adapter-runs.ts';
import { aten } from './aten.ts';
import { noGrad } from './autograd.ts';
import { type CachedRows, rowLogits, runCachedRows } from './cached-pass.ts';
import type { Decoder } from './decoder.ts';
import { type Adapter, buildBank, type LoraBank } from './lora.ts';
import { logSoftmax, narrow, reshape } from './ops.ts';
import { type Packed, packRows, trunkRows } from './pack-rows.ts';
import { tidy } from './scope.ts';
import { SequenceCache } from './sequence-cache.ts';
import { indexTensor, type Tensor } from './tensor.ts';

/** A sequence of at least two tokens. */
export type WholeRow = { readonly tokens: Int32Array; readonly adapter?: Adapter };

/** Scores of whole vocabularies in memory at once. */
const maxScores = 1 << 24;

/**
 * Log-probability of each token given those before it, on a decoder with kernels: a row's numbers have the same
 * bits whatever other rows are scored with it, and what rows begin with in common is computed once.
 *
 * @returns per row as many entries as tokens; entry 0 is NaN
 */
export function scoreRows(decoder: Decoder, rows: readonly WholeRow[]): readonly Float32Array[] {
  const inputs = rows.map(({ tokens, ...rest }) => ({ ...rest, input: tokens.subarray(0, -1) }));
  const packed = packRows(inputs);
  const results = rows.map(({ tokens }) => new Float32Array(tokens.length).fill(Number.NaN));
  const cache = new SequenceCache(decoder);
  try {
    for (const [row, { tokens }] of rows.entries()) cache.reserve(row, tokens.length);
    const trunks = new Set(packed.blocks.flatMap(({ trunk }) => trunk?.block ?? []));
    const passes = [
      (block: number) => trunks.has(block),
      (block: number) => !trunks.has(block),
    ].map((isOfPass) => byAdapter(tokensOf(packed, isOfPass), packed, rows));
    const entries = entriesOf(packed, rows);
    for (const [index, chosen] of passes.entries()) {
      if (chosen.length === 0) continue;
      if (index > 0) copyTrunks(cache, packed);
      noGrad(() =>
        tidy(() => {
          const pass = passOver(decoder, cache, { packed, rows, chosen });
          const hidden = runCachedRows(decoder, cache, pass);
          readScores(decoder, hidden, { chosen, entries, results });
        }),
      );
    }
    return results;
  } finally {
    cache.dispose();
  }
}

/** A target that is to be scored: token `token` of row `row` follows a packed token. */
type Entry = { readonly row: number; readonly at: number; readonly token: number };

/** Per packed token, what follows it in the rows that it belongs to. */
function entriesOf(packed: Packed, rows: readonly WholeRow[]): readonly (readonly Entry[])[] {
  const entries: Entry[][] = Array.from(packed.tokens, () => []);
  for (const [row, { tokens }] of rows.entries()) {
    for (let at = 1; at < tokens.length; at++) {
      entries[packed.indexOf(row, at - 1)]?.push({ row, at, token: tokens[at] ?? 0 });
    }
  }
  return entries;
}

/** The packed tokens of some blocks. */
function tokensOf({ blocks }: Packed, isWanted: (block: number) => boolean): readonly number[] {
  const chosen: number[] = [];
  let start = 0;
  for (const [index, { rows, length }] of blocks.entries()) {
    const end = start + rows.length * length;
    for (let token = start; isWanted(index) && token < end; token++) chosen.push(token);
    start = end;
  }
  return chosen;
}

/** Tokens of one adapter next to one another, as they run fastest. */
function byAdapter(
  tokens: readonly number[],
  { owners }: Packed,
  rows: readonly WholeRow[],
): readonly number[] {
  return [...Map.groupBy(tokens, (token) => rows[owners[token] ?? 0]?.adapter).values()].flat();
}

function passOver(
  decoder: Decoder,
  cache: SequenceCache,
  from: {
    readonly packed: Packed;
    readonly rows: readonly WholeRow[];
    readonly chosen: readonly number[];
  },
): CachedRows {
  const { tokens, positions, owners } = from.packed;
  const pick = (value: (token: number) => number) =>
    indexTensor(from.chosen.map(value), [from.chosen.length]);
  const position = (token: number) => positions[token] ?? 0;
  const owner = (token: number) => owners[token] ?? 0;
  return {
    tokens: pick((token) => tokens[token] ?? 0),
    positions: pick(position),
    places: pick((token) => cache.startOf(owner(token)) + position(token)),
    length: from.chosen.reduce((most, token) => Math.max(most, position(token) + 1), 0),
    lora: runsOf(
      decoder,
      from.chosen.map((token) => from.rows[owner(token)]?.adapter),
    ),
  };
}

function runsOf(decoder: Decoder, owners: readonly (Adapter | undefined)[]): readonly AdapterRun[] {
  const adapters = [...new Set(owners.flatMap((adapter) => adapter ?? []))];
  const banks = new Map(
    adapters.map((adapter) => [adapter, buildBank(decoder.config, [adapter], decoder)]),
  );
  return adapterRuns(owners, (adapter) => banks.get(adapter) as LoraBank);
}

function readScores(
  decoder: Decoder,
  hidden: Tensor,
  into: {
    readonly chosen: readonly number[];
    readonly entries: readonly (readonly Entry[])[];
    readonly results: readonly Float32Array[];
  },
): void {
  const { vocabSize } = decoder.config;
  const size = Math.max(1, Math.floor(maxScores / vocabSize));
  for (let start = 0; start < into.chosen.length; start += size) {
    const part = into.chosen.slice(start, start + size);
    const wanted = part.flatMap((token, row) =>
      (into.entries[token] ?? []).map((entry) => ({
        ...entry,
        flat: row * vocabSize + entry.token,
      })),
    );
    const values = tidy(() => {
      const logits = rowLogits(decoder, narrow(hidden, 0, start, part.length));
      const scores = reshape(logSoftmax(logits, -1), [-1]);
      const index = indexTensor(
        wanted.map(({ flat }) => flat),
        [wanted.length],
      );
      return aten('take', scores, index).toFloat32Array();
    });
    for (const [index, { row, at }] of wanted.entries()) {
      const result = into.results[row];
      if (result !== undefined) result[at] = values[index] ?? Number.NaN;
    }
  }
}

/** Gives every row what the first of its family has computed. */
function copyTrunks(cache: SequenceCache, { blocks }: Packed): void {
  for (const block of blocks) {
    for (const [piece, first] of trunkRows(blocks, block).entries()) {
      const row = block.rows[piece];
      if (first === undefined || row === undefined || row === first) continue;
      noGrad(() => cache.copy(first, row, block.from));
    }
  }
}
