import { aten } from './aten.ts';
import type { Decoder, LayerHeads } from './decoder.ts';
import { copyTo, narrow, transpose, zeros } from './ops.ts';
import { keep, tidy } from './scope.ts';
import { bytesPerElement, type Tensor } from './tensor.ts';

/** One layer's store. */
export type LayerCache = { readonly keys: Tensor; readonly values: Tensor };

/** Keys and values as attention reads them: views [slots, keyValueHeads, positions, headDim]. */
export type CacheView = { readonly key: Tensor; readonly value: Tensor };

/** Slots are handed out, and positions stored, in multiples of these, so that shapes repeat. */
export const slotBlock = 8;
export const positionBlock = 64;

/** The smallest multiple of `block` that is at least `count`. */
export function roundUp(count: number, block: number): number {
  return Math.ceil(count / block) * block;
}

/** Of one token's keys and values in all layers. */
export function bytesPerToken({ config, dtype }: Decoder): number {
  return 2 * config.layers * config.keyValueHeads * config.headDim * bytesPerElement(dtype);
}

/**
 * Keys and values of past tokens, [slots, positions, keyValueHeads, headDim] in each layer. A slot holds one sequence,
 * token i always at position i: what other slots hold never moves it. What was never written reads as 0.
 */
export class KvCache {
  readonly #decoder: Decoder;
  #slots = 0;
  #positions = 0;
  #layers: readonly LayerCache[] = [];
  #views: { readonly slots: number; readonly positions: number; readonly layers: CacheView[] };

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
    this.#views = { slots: 0, positions: 0, layers: [] };
  }

  get slots(): number {
    return this.#slots;
  }

  /** Positions per slot: slot s, position p is row s · positions + p of the flat store that `write` indexes. */
  get positions(): number {
    return this.#positions;
  }

  get bytes(): number {
    return this.#slots * this.#positions * bytesPerToken(this.#decoder);
  }

  /** Makes room; keeps what is stored. @returns whether flat rows moved */
  reserve(slots: number, positions: number): boolean {
    if (slots <= this.#slots && positions <= this.#positions) return false;
    const before = { slots: this.#slots, positions: this.#positions, layers: this.#layers };
    this.#slots = grown(before.slots, slots, slotBlock);
    this.#positions = grown(before.positions, positions, positionBlock);
    this.#dropViews();
    this.#layers = this.#allocate();
    for (const [index, old] of before.layers.entries()) {
      const layer = this.#layers[index] as LayerCache;
      for (const part of ['keys', 'values'] as const) {
        tidy(() => copyTo(corner(layer[part], before.slots, before.positions), old[part]));
        old[part].dispose();
      }
    }
    return true;
  }

  /** Stores heads [tokens, keyValueHeads, headDim] at flat rows (int64 [tokens]). */
  write(layer: number, heads: LayerHeads, flatRows: Tensor): void {
    const { keys, values } = this.#layers[layer] as LayerCache;
    tidy(() => {
      const shape = [this.#slots * this.#positions, ...keys.shape.slice(2)];
      aten('index_copy_', aten('view', keys, shape), 0, flatRows, heads.key);
      aten('index_copy_', aten('view', values, shape), 0, flatRows, heads.value);
    });
  }

  /** The first `slots` slots up to `positions`; the same views are returned until either number changes. */
  view(layer: number, slots: number, positions: number): CacheView {
    if (this.#views.slots !== slots || this.#views.positions !== positions) {
      this.#dropViews();
      this.#views = {
        slots,
        positions,
        layers: this.#layers.map((cache) => viewOf(cache, slots, positions)),
      };
    }
    return this.#views.layers[layer] as CacheView;
  }

  /** Copies the first `length` positions of one slot over another's. */
  move(from: number, to: number, length: number): void {
    for (const { keys, values } of this.#layers) {
      tidy(() => {
        for (const store of [keys, values]) {
          copyTo(
            corner(narrow(store, 0, to, 1), 1, length),
            corner(narrow(store, 0, from, 1), 1, length),
          );
        }
      });
    }
  }

  dispose(): void {
    this.#dropViews();
    for (const { keys, values } of this.#layers) {
      keys.dispose();
      values.dispose();
    }
    this.#layers = [];
    this.#slots = 0;
    this.#positions = 0;
  }

  #allocate(): LayerCache[] {
    const { config, dtype, device } = this.#decoder;
    const shape = [this.#slots, this.#positions, config.keyValueHeads, config.headDim];
    const store = () => zeros(shape, { dtype, device });
    const layers = tidy(() =>
      Array.from({ length: config.layers }, () => ({ keys: store(), values: store() })),
    );
    return layers.map(({ keys, values }) => ({ keys: keep(keys), values: keep(values) }));
  }

  #dropViews(): void {
    for (const { key, value } of this.#views.layers) {
      key.dispose();
      value.dispose();
    }
    this.#views = { slots: 0, positions: 0, layers: [] };
  }
}

/** At least half as much again, so that a store that grows step by step is copied seldom. */
function grown(before: number, wanted: number, block: number): number {
  return wanted <= before ? before : roundUp(Math.max(wanted, Math.ceil(before * 1.5)), block);
}

function corner(store: Tensor, slots: number, positions: number): Tensor {
  return narrow(narrow(store, 0, 0, slots), 1, 0, positions);
}

function viewOf({ keys, values }: LayerCache, slots: number, positions: number): CacheView {
  const part = (store: Tensor) =>
    keep(tidy(() => transpose(corner(store, slots, positions), 1, 2)));
  return { key: part(keys), value: part(values) };
}
