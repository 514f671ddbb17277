import { aten } from './aten.ts';
import { attend } from './attention.ts';
import type { Decoder, LayerHeads } from './decoder.ts';
import type { Adapter } from './lora.ts';
import { concat, full, reshape, split, transpose } from './ops.ts';
import type { Tensor } from './tensor.ts';

/** A sequence, and the adapter it runs under. */
type PackedRow = { readonly input: Int32Array; readonly adapter?: Adapter };

/** Pieces of rows, of one length and from one position on, one after another in the pass. */
type Block = {
  readonly rows: readonly number[];
  /** Position of the pieces' first token in their rows. */
  readonly from: number;
  readonly length: number;
  /** Which block holds what stands before all these pieces; absent when nothing does. */
  readonly trunk: number | undefined;
};

/** Rows without padding; what several of them begin with stands there once. */
export type Packed = {
  readonly tokens: Int32Array;
  /** Of each token in its row. */
  readonly positions: Int32Array;
  /** Per token, a row that it belongs to. */
  readonly owners: Int32Array;
  /** In the order of the tokens. */
  readonly blocks: readonly Block[];
  /** Where a row's token stands. */
  readonly indexOf: (row: number, position: number) => number;
};

/** Numbers of rows that begin alike, and how many tokens they share; 0 for rows on their own. */
type Family = { readonly rows: number[]; shared: number };

/** Fewer tokens are not worth an attention of their own. */
const minShared = 16;

/**
 * Packs rows for one pass. A token's hidden state depends on what is before it alone, so the beginning that samples of
 * one prompt, or the two answers of a preference, have in common is computed once and collects the gradients of all.
 *
 * @param rows not all empty; those of equal length next to one another share one attention
 */
export function packRows(rows: readonly PackedRow[]): Packed {
  const blocks = blocksOf(rows);
  const tokens: number[] = [];
  const positions: number[] = [];
  const owners: number[] = [];
  const starts: number[] = [];
  const places = rows.map(() => ({ trunk: 0, from: 0, own: 0 }));
  for (const { rows: members, from, length, trunk } of blocks) {
    starts.push(tokens.length);
    for (const row of members) {
      // Pieces come after their trunk, so what is written last is what holds.
      places[row] = { trunk: starts[trunk ?? starts.length - 1] ?? 0, from, own: tokens.length };
      for (let at = from; at < from + length; at++) {
        tokens.push(rows[row]?.input[at] ?? 0);
        positions.push(at);
        owners.push(row);
      }
    }
  }
  return {
    tokens: Int32Array.from(tokens),
    positions: Int32Array.from(positions),
    owners: Int32Array.from(owners),
    blocks,
    indexOf: (row, position) => {
      const { trunk, from, own } = places[row] ?? { trunk: 0, from: 0, own: 0 };
      return position < from ? trunk + position : own + position - from;
    },
  };
}

function blocksOf(rows: readonly PackedRow[]): readonly Block[] {
  const blocks: (Block & { readonly rows: number[] })[] = [];
  for (const { rows: members, shared } of familiesOf(rows)) {
    let trunk: number | undefined;
    if (shared > 0) {
      trunk = blocks.length;
      blocks.push({ rows: members.slice(0, 1), from: 0, length: shared, trunk: undefined });
    }
    for (const row of members) {
      const length = (rows[row]?.input.length ?? 0) - shared;
      const last = blocks.at(-1);
      if (last?.length === length && last.from === shared && last.trunk === trunk) {
        last.rows.push(row);
      } else if (length > 0) {
        blocks.push({ rows: [row], from: shared, length, trunk });
      }
    }
  }
  return blocks;
}

/** Families in the order of their first rows. */
function familiesOf(rows: readonly PackedRow[]): readonly Family[] {
  const families = byAdapter(rows).flatMap((members) => familiesAmong(rows, members));
  for (const family of families) {
    family.rows.sort((left, right) => left - right);
    if (family.rows.length === 1) family.shared = 0;
  }
  return families.sort((left, right) => (left.rows[0] ?? 0) - (right.rows[0] ?? 0));
}

function familiesAmong(rows: readonly PackedRow[], members: readonly number[]): Family[] {
  const sorted = members.toSorted((left, right) =>
    compareTokens(inputOf(rows, left), inputOf(rows, right)),
  );
  const families: Family[] = [];
  for (const [index, row] of sorted.entries()) {
    const family = families.at(-1);
    const size = family?.rows.length ?? 0;
    const common = commonLength(rows, sorted[index - 1] ?? row, row);
    const shared = Math.min(common, family?.shared ?? 0);
    // A member more may shorten what all of them share: it joins where that saves tokens all the same.
    if (
      family !== undefined &&
      shared >= minShared &&
      shared * size >= family.shared * (size - 1)
    ) {
      family.rows.push(row);
      family.shared = shared;
    } else {
      families.push({ rows: [row], shared: inputOf(rows, row).length - 1 });
    }
  }
  return families;
}

function byAdapter(rows: readonly PackedRow[]): readonly number[][] {
  const members = new Map<Adapter | undefined, number[]>();
  for (const [row, { adapter }] of rows.entries()) {
    members.set(adapter, [...(members.get(adapter) ?? []), row]);
  }
  return [...members.values()];
}

function inputOf(rows: readonly PackedRow[], row: number): Int32Array {
  return rows[row]?.input ?? new Int32Array(0);
}

/** Tokens in common at the start, the last one of each row left out: every row keeps a piece of its own. */
function commonLength(rows: readonly PackedRow[], left: number, right: number): number {
  const [first, second] = [inputOf(rows, left), inputOf(rows, right)];
  const limit = Math.min(first.length, second.length) - 1;
  const differs = first
    .subarray(0, Math.max(0, limit))
    .findIndex((token, at) => token !== second[at]);
  return differs < 0 ? limit : differs;
}

/** By the first token that differs; a beginning comes before what it begins. */
function compareTokens(left: Int32Array, right: Int32Array): number {
  const at = left.findIndex((token, index) => token !== right[index]);
  if (at < 0) return left.length - right.length;
  return at >= right.length ? 1 : (left[at] ?? 0) - (right[at] ?? 0);
}

/** Per block, what its pieces see of their trunk and of themselves; absent without a trunk. */
export type BlockMasks = readonly (Tensor | undefined)[];

/** The masks of `attendPacked`, the same for all layers. Caller frees. */
export function masksOf({ dtype, device }: Decoder, { blocks }: Packed): BlockMasks {
  return blocks.map(({ trunk, from, length }) =>
    trunk === undefined ? undefined : visibleAfter(from, length, { dtype, device }),
  );
}

/** [length, before + length]: 0 for what stands before a piece and for a token's own piece up to itself, else −∞. */
function visibleAfter(
  before: number,
  length: number,
  placement: Pick<Decoder, 'dtype' | 'device'>,
): Tensor {
  return aten(
    'triu',
    full([length, before + length], Number.NEGATIVE_INFINITY, placement),
    before + 1,
  );
}

/** Attention of every token to what is before it in its row, and to itself; one call for each block. */
export function attendPacked({ blocks }: Packed, masks: BlockMasks, heads: LayerHeads): Tensor {
  const [only, another] = blocks;
  if (only !== undefined && another === undefined) return attendCausal(sizeOf(only), heads);
  const sizes = blocks.map(({ rows, length }) => rows.length * length);
  const [query, key, value] = [heads.query, heads.key, heads.value].map((part) =>
    split(part, sizes, 0),
  ) as [readonly Tensor[], readonly Tensor[], readonly Tensor[]];
  const headsOf = (block: number): LayerHeads => ({
    query: query[block] as Tensor,
    key: key[block] as Tensor,
    value: value[block] as Tensor,
  });
  const parts = blocks.map((block, index) => {
    const mask = masks[index];
    return block.trunk === undefined || mask === undefined
      ? attendCausal(sizeOf(block), headsOf(index))
      : attendAfter(sizeOf(block), headsOf(index), { trunk: headsOf(block.trunk), mask });
  });
  return concat(parts, 0);
}

type Size = { readonly rows: number; readonly length: number };

function sizeOf({ rows, length }: Block): Size {
  return { rows: rows.length, length };
}

/** Attention in which every token sees itself and what is before it in its row. */
export function attendCausal(size: Size, heads: LayerHeads): Tensor {
  const input = {
    query: byRow(heads.query, size),
    key: byRow(heads.key, size),
    value: byRow(heads.value, size),
  };
  return flatRows(attend(input, { kind: 'causal' }));
}

/** The same for pieces that all stand after one trunk. */
function attendAfter(
  size: Size,
  heads: LayerHeads,
  { trunk, mask }: { readonly trunk: LayerHeads; readonly mask: Tensor },
): Tensor {
  const whole = (before: Tensor, own: Tensor): Tensor => {
    const [length = 0, count = 0, headDim = 0] = before.shape;
    const repeated = aten('expand', byRow(before, { rows: 1, length }), [
      ...[size.rows, count, length, headDim],
    ]);
    return concat([repeated, byRow(own, size)], 2);
  };
  const input = {
    query: byRow(heads.query, size),
    key: whole(trunk.key, heads.key),
    value: whole(trunk.value, heads.value),
  };
  return flatRows(attend(input, { kind: 'mask', mask }));
}

/** [rows · length, heads, headDim] → [rows, heads, length, headDim] */
function byRow(tensor: Tensor, { rows, length }: Size): Tensor {
  const [, count = 0, headDim = 0] = tensor.shape;
  return transpose(reshape(tensor, [rows, length, count, headDim]), 1, 2);
}

/** [rows, heads, length, headDim] → [rows · length, heads · headDim] */
function flatRows(attended: Tensor): Tensor {
  const [rows = 0, , length = 0] = attended.shape;
  return reshape(transpose(attended, 1, 2), [rows * length, -1]);
}
