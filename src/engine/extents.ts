/** A stretch of a flat store. */
export type Extent = { readonly start: number; readonly length: number };

/** Which stretches of a flat store are free; lengths in any unit. */
export class Extents {
  readonly #size: number;
  /** In the order of the store, no two of them adjacent. */
  readonly #free: Extent[];

  constructor(size: number) {
    this.#size = size;
    this.#free = size === 0 ? [] : [{ start: 0, length: size }];
  }

  get size(): number {
    return this.#size;
  }

  get used(): number {
    return this.#size - this.#free.reduce((sum, { length }) => sum + length, 0);
  }

  /** The first stretch that is long enough, so that the end of the store stays untouched while there is room before it. */
  take(length: number): Extent | undefined {
    const index = this.#free.findIndex((free) => free.length >= length);
    const found = this.#free[index];
    if (found === undefined) return undefined;
    this.#shorten(index, found, length);
    return { start: found.start, length };
  }

  /** @returns the extent with what stands behind it taken too, or undefined where that is not free */
  extend({ start, length }: Extent, wanted: number): Extent | undefined {
    const index = this.#free.findIndex((free) => free.start === start + length);
    const behind = this.#free[index];
    if (behind === undefined || length + behind.length < wanted) return undefined;
    this.#shorten(index, behind, wanted - length);
    return { start, length: wanted };
  }

  /** Gives a stretch back; it must have been taken. */
  giveBack({ start, length }: Extent): void {
    if (length === 0) return;
    const index = this.#free.findIndex((free) => free.start > start);
    const at = index < 0 ? this.#free.length : index;
    const [before, after] = [this.#free[at - 1], this.#free[at]];
    const joinsBefore = before !== undefined && before.start + before.length === start;
    const joinsAfter = after !== undefined && start + length === after.start;
    const first = joinsBefore ? before.start : start;
    const end = joinsAfter ? after.start + after.length : start + length;
    this.#free.splice(joinsBefore ? at - 1 : at, Number(joinsBefore) + Number(joinsAfter), {
      start: first,
      length: end - first,
    });
  }

  #shorten(index: number, { start, length }: Extent, by: number): void {
    const left = { start: start + by, length: length - by };
    this.#free.splice(index, 1, ...(left.length === 0 ? [] : [left]));
  }
}
