import type { Decoder } from './decoder.ts';
import { type Extent, Extents } from './extents.ts';
import { bytesPerToken, type LayerCache, roundUp } from './kv-cache.ts';
import { copyTo, empty, narrow } from './ops.ts';
import { keep, tidy } from './scope.ts';

/** Stretches are multiples of so many tokens. */
const block = 16;

/** Of the store that holds everything, what may lie idle before what is held is pushed together instead of taking more memory. */
const idleShare = 0.25;

/**
 * Keys and values of past tokens for passes over rows: every sequence lies in one piece, token i at i places behind the
 * first, and takes the memory of its own length, not of the longest. Slots name sequences; what other slots hold never
 * changes what one holds, though it may move.
 */
export class SequenceCache {
  readonly #decoder: Decoder;
  /** By slot; absent where nothing is held. */
  readonly #held = new Map<number, Extent>();
  #extents = new Extents(0);
  #layers: readonly LayerCache[] = [];

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  /** Of the whole store. */
  get bytes(): number {
    return this.#extents.size * bytesPerToken(this.#decoder);
  }

  /** The place of a slot's first token, until the next `reserve` of any slot. */
  startOf(slot: number): number {
    return this.#held.get(slot)?.start ?? 0;
  }

  /** One layer's whole store: keys and values [places, keyValueHeads, headDim], until the next `reserve`. */
  store(layer: number): LayerCache {
    return this.#layers[layer] as LayerCache;
  }

  /** Makes room for a slot's first `tokens` tokens; keeps what is stored. A sequence that grows takes a quarter more, to be moved seldom. */
  reserve(slot: number, tokens: number): void {
    const held = this.#held.get(slot);
    if (held === undefined) {
      this.#held.set(slot, this.#take(roundUp(tokens, block)));
      return;
    }
    if (tokens <= held.length) return;
    const wanted = roundUp(Math.ceil(tokens * 1.25), block);
    const extended = this.#extents.extend(held, wanted);
    if (extended !== undefined) {
      this.#held.set(slot, extended);
      return;
    }
    const taken = this.#take(wanted);
    // What was held may have been moved to make room.
    const before = this.#held.get(slot) ?? held;
    this.#copy(before, taken, before.length);
    this.#extents.giveBack(before);
    this.#held.set(slot, taken);
  }

  /** Copies the first `tokens` tokens of one slot to another, which has room for them. */
  copy(from: number, to: number, tokens: number): void {
    const [source, target] = [this.#held.get(from), this.#held.get(to)];
    if (source !== undefined && target !== undefined) this.#copy(source, target, tokens);
  }

  /** Keeps a slot's first `tokens` tokens alone. */
  trim(slot: number, tokens: number): void {
    const held = this.#held.get(slot);
    const length = roundUp(tokens, block);
    if (held === undefined || length >= held.length) return;
    this.#held.set(slot, { start: held.start, length });
    this.#extents.giveBack({ start: held.start + length, length: held.length - length });
  }

  /** Forgets what a slot holds. */
  release(slot: number): void {
    const held = this.#held.get(slot);
    if (held === undefined) return;
    this.#held.delete(slot);
    this.#extents.giveBack(held);
  }

  dispose(): void {
    for (const store of this.#layers) disposeStore(store);
    this.#layers = [];
    this.#held.clear();
    this.#extents = new Extents(0);
  }

  #take(length: number): Extent {
    const taken = this.#extents.take(length) ?? this.#renew(length).take(length);
    if (taken === undefined) throw new Error(`a new store has no room for ${length} tokens`);
    return taken;
  }

  /** Another store, in which what is held stands together and `length` more have room; nothing else is copied. */
  #renew(length: number): Extents {
    const { size, used } = this.#extents;
    const least = used + length;
    const isEnough = least <= size * (1 - idleShare);
    const extents = new Extents(
      isEnough ? size : roundUp(Math.ceil(least / (1 - idleShare)), block),
    );
    const moves = [...this.#held].flatMap(([slot, from]) => {
      const to = extents.take(from.length);
      return to === undefined ? [] : [{ slot, from, to }];
    });
    this.#moveAll(moves, extents.size);
    for (const { slot, to } of moves) this.#held.set(slot, to);
    this.#extents = extents;
    return extents;
  }

  /** Layer by layer, so that no more than one stands there twice. When there is no memory for one, nothing is held any more. */
  #moveAll(moves: readonly Move[], places: number): void {
    const moved: LayerCache[] = [];
    try {
      for (let layer = 0; layer < this.#decoder.config.layers; layer++) {
        const after = makeStore(this.#decoder, places);
        moved.push(after);
        const before = this.#layers[layer];
        if (before === undefined) continue;
        for (const { from, to } of moves) {
          const source = { store: before, at: from.start };
          copyTokens(source, { store: after, at: to.start }, from.length);
        }
        disposeStore(before);
      }
    } catch (error) {
      this.#layers = [...moved, ...this.#layers.slice(moved.length)];
      this.dispose();
      throw error;
    }
    this.#layers = moved;
  }

  #copy(from: Extent, to: Extent, tokens: number): void {
    for (const store of this.#layers) {
      copyTokens({ store, at: from.start }, { store, at: to.start }, tokens);
    }
  }
}

type Move = { readonly from: Extent; readonly to: Extent };

type Place = { readonly store: LayerCache; readonly at: number };

function copyTokens(from: Place, to: Place, tokens: number): void {
  tidy(() => {
    for (const part of ['keys', 'values'] as const) {
      copyTo(
        narrow(to.store[part], 0, to.at, tokens),
        narrow(from.store[part], 0, from.at, tokens),
      );
    }
  });
}

/** Memory is only taken where it is written. */
function makeStore({ config, dtype, device }: Decoder, places: number): LayerCache {
  const shape = [places, config.keyValueHeads, config.headDim];
  const store = tidy(() => ({
    keys: empty(shape, { dtype, device }),
    values: empty(shape, { dtype, device }),
  }));
  return { keys: keep(store.keys), values: keep(store.values) };
}

function disposeStore({ keys, values }: LayerCache): void {
  keys.dispose();
  values.dispose();
}
