import { aten } from './aten.ts';
import { attend } from './attention.ts';
import type { Decoder, LayerHeads } from './decoder.ts';
import type { Adapter } from './lora.ts';
import { concat, full, indexSelect, reshape, split, transpose, unsqueeze } from './ops.ts';
import { indexTensor, type Tensor } from './tensor.ts';

/** A sequence, and the adapter it runs under. */
type PackedRow = { readonly input: Int32Array; readonly adapter?: Adapter };

/** Pieces of rows, of one length and from one position on, one after another in the pass: they share one attention. */
type Block = {
  /** Which row each piece is of. */
  readonly rows: readonly number[];
  /** Position of the pieces' first token in their rows. */
  readonly from: number;
  readonly length: number;
  /** What stands before the pieces; absent when nothing does. */
  readonly trunk: Trunk | undefined;
};

/** Pieces of an earlier block, each of which stands before equally many pieces of this one. */
type Trunk = { readonly block: number; readonly pieces: readonly number[] };

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
 * @param rows not all empty; those of equal length share one attention
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
    for (const [piece, row] of members.entries()) {
      const before =
        trunk && (starts[trunk.block] ?? 0) + pieceBefore(trunk, piece, members) * from;
      // Pieces come after their trunk, so what is written last is what holds.
      places[row] = { trunk: before ?? 0, from, own: tokens.length };
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

/** Which piece of the trunk's block stands before a piece of a block with these rows. */
function pieceBefore({ pieces }: Trunk, piece: number, { length }: readonly number[]): number {
  return pieces[Math.floor((piece * pieces.length) / length)] ?? 0;
}

/** For every piece of `block`, the row that its trunk was taken from; nothing without a trunk. */
export function trunkRows(
  blocks: Packed['blocks'],
  { trunk, rows }: Block,
): readonly (number | undefined)[] {
  if (trunk === undefined) return [];
  return rows.map((_, piece) => blocks[trunk.block]?.rows[pieceBefore(trunk, piece, rows)]);
}

/** A block that further pieces join. */
type OpenBlock = Block & {
  readonly rows: number[];
  readonly trunk: { readonly block: number; readonly pieces: number[] } | undefined;
};

/** Pieces of one shape stand in one block whatever family they are of: a few attentions cost less than one for each family. */
function blocksOf(rows: readonly PackedRow[]): readonly Block[] {
  const blocks: OpenBlock[] = [];
  const numbers = new Map<string, number>();
  const place = (
    { rows: own, from, length }: Omit<Block, 'trunk'>,
    after?: { readonly block: number; readonly piece: number },
  ): { readonly block: number; readonly piece: number } => {
    const shape = [from, length, after && own.length].join();
    const trunk = after && { block: after.block, pieces: [] };
    const number = numbers.get(shape) ?? blocks.push({ rows: [], from, length, trunk }) - 1;
    numbers.set(shape, number);
    const block = blocks[number] as OpenBlock;
    if (after !== undefined) block.trunk?.pieces.push(after.piece);
    return { block: number, piece: block.rows.push(...own) - own.length };
  };
  for (const { rows: members, shared } of familiesOf(rows)) {
    const first = { rows: members.slice(0, 1), from: 0, length: shared };
    const trunk = shared === 0 ? undefined : place(first);
    const lengths = Map.groupBy(members, (row) => inputOf(rows, row).length - shared);
    for (const [length, own] of lengths) {
      if (length > 0) place({ rows: own, from: shared, length }, trunk);
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

/** How the pieces of a block see their trunk. */
type TrunkView = {
  /** Of the trunk's block. */
  readonly size: Size;
  /** int64: which of its pieces; absent = all of them, in their order. */
  readonly pieces: Tensor | undefined;
  readonly mask: Tensor;
};

/** Per block; absent without a trunk. */
export type TrunkViews = readonly (TrunkView | undefined)[];

/** What `attendPacked` reads besides heads, the same for all layers. Caller frees. */
export function trunkViews({ dtype, device }: Decoder, { blocks }: Packed): TrunkViews {
  return blocks.map(({ trunk, from, length }) => {
    const block = trunk && blocks[trunk.block];
    if (trunk === undefined || block === undefined) return undefined;
    const { pieces } = trunk;
    const isWhole =
      pieces.length === block.rows.length && pieces.every((piece, index) => piece === index);
    return {
      size: sizeOf(block),
      pieces: isWhole ? undefined : indexTensor(pieces, [pieces.length], device),
      mask: visibleAfter(from, length, { dtype, device }),
    };
  });
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
export function attendPacked({ blocks }: Packed, views: TrunkViews, heads: LayerHeads): Tensor {
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
    const view = views[index];
    return block.trunk === undefined || view === undefined
      ? attendCausal(sizeOf(block), headsOf(index))
      : attendAfter(sizeOf(block), headsOf(index), { trunks: headsOf(block.trunk.block), view });
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

/** The same for pieces that stand after trunks; those after the first trunk come first. */
function attendAfter(
  size: Size,
  own: LayerHeads,
  { trunks, view }: { readonly trunks: LayerHeads; readonly view: TrunkView },
): Tensor {
  const whole = (before: Tensor, after: Tensor): Tensor => {
    const all = byRow(before, view.size);
    const chosen = view.pieces === undefined ? all : indexSelect(all, 0, view.pieces);
    const [count = 0, heads = 0, length = 0, headDim = 0] = chosen.shape;
    const each = size.rows / count;
    const repeated = aten('expand', unsqueeze(chosen, 1), [count, each, heads, length, headDim]);
    const pieces = reshape(byRow(after, size), [count, each, heads, size.length, headDim]);
    return reshape(concat([repeated, pieces], 3), [size.rows, heads, -1, headDim]);
  };
  const input = {
    query: byRow(own.query, size),
    key: whole(trunks.key, own.key),
    value: whole(trunks.value, own.value),
  };
  return flatRows(attend(input, { kind: 'mask', mask: view.mask }));
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
