import type { Row } from './generation.ts';

/** What one slot of the cache holds: a sequence's first `row.cached` tokens, as one state of the weights computed them. */
type Holder = {
  readonly row: Row;
  /** Writes to the weights so far: keys and values of other weights are of no use. */
  readonly writes: number;
  isFinished: boolean;
};

/** A slot for a new row; its first `cached` tokens are there already once slot `from` is copied. */
export type Place = { readonly slot: number; readonly from: number; readonly cached: number };

/** Shorter beginnings are computed again: copying them would not be worth the wait for another row. */
const minShared = 8;

/**
 * Which slot of the cache holds which sequence. Finished ones stay, the most recently used longest, for prompts that
 * begin alike under the same weights: samples of one prompt, and the next turn of a play.
 */
export class SequenceSlots {
  readonly #holders: (Holder | undefined)[] = [];
  /** Slots by the first tokens of what they hold: only those can share a beginning. */
  readonly #slotsByStart = new Map<string, Set<number>>();
  /** Slots of finished rows, least recently used first. */
  readonly #finished: number[] = [];
  readonly #maxFinished: number;
  readonly #maxTokens: number;
  /** Of finished rows. */
  #tokens = 0;

  /** @param limits finished sequences to keep, and the sum of their tokens */
  constructor(limits: { readonly sequences: number; readonly tokens: number }) {
    this.#maxFinished = limits.sequences;
    this.#maxTokens = limits.tokens;
  }

  /**
   * Finds a slot for a row and whatever of its prompt is in the cache; the last token never is, since its scores are
   * wanted.
   *
   * @param writes to the row's weights so far
   * @returns undefined when a row under way will soon have computed more of the same prompt: then it pays to wait
   */
  place(row: Row, writes: number): Place | undefined {
    const { slot: from, length: cached } = this.#longest(
      row,
      writes,
      (holder) => holder.row.cached,
    );
    const promised = this.#longest(row, writes, ({ row: other, isFinished }) =>
      isFinished ? other.cached : other.request.prompt.length,
    );
    if (promised.length > cached) return undefined;
    const slot = this.#choose(from, cached);
    row.cached = cached;
    this.#hold(slot, { row, writes, isFinished: false });
    return { slot, from: from < 0 ? slot : from, cached };
  }

  /**
   * Keeps a row's sequence for others; the oldest go when there are too many.
   *
   * @returns the slots that hold nothing now
   */
  finish(slot: number): readonly number[] {
    const holder = this.#holders[slot];
    if (holder === undefined) return [];
    holder.isFinished = true;
    this.#finished.push(slot);
    this.#tokens += holder.row.cached;
    const dropped: number[] = [];
    while (this.#finished.length > this.#maxFinished || this.#tokens > this.#maxTokens) {
      const oldest = this.#finished.shift() ?? slot;
      this.#tokens -= this.#holders[oldest]?.row.cached ?? 0;
      this.#hold(oldest, undefined);
      dropped.push(oldest);
    }
    return dropped;
  }

  #hold(slot: number, holder: Holder | undefined): void {
    const before = startOf(this.#holders[slot]?.row.request.prompt);
    if (before !== undefined) {
      const slots = this.#slotsByStart.get(before);
      slots?.delete(slot);
      if (slots?.size === 0) this.#slotsByStart.delete(before);
    }
    this.#holders[slot] = holder;
    const start = startOf(holder?.row.request.prompt);
    if (start === undefined) return;
    this.#slotsByStart.set(start, (this.#slotsByStart.get(start) ?? new Set()).add(slot));
  }

  #longest(
    row: Row,
    writes: number,
    available: (holder: Holder) => number,
  ): { readonly slot: number; readonly length: number } {
    let best = { slot: -1, length: 0 };
    const start = startOf(row.request.prompt);
    const slots = start === undefined ? undefined : this.#slotsByStart.get(start);
    for (const slot of slots ?? []) {
      const holder = this.#holders[slot];
      if (holder === undefined || holder.writes !== writes) continue;
      if (holder.row.request.adapter !== row.request.adapter) continue;
      const length = Math.min(available(holder), sharedLength(row.request.prompt, holder.row));
      if (length >= minShared && length > best.length) best = { slot, length };
    }
    return best;
  }

  /** The slot of a finished sequence that the row only continues, an empty one, a new one, or the oldest finished. */
  #choose(from: number, cached: number): number {
    const source = this.#holders[from];
    if (source?.isFinished === true) {
      this.#finished.splice(this.#finished.indexOf(from), 1);
      if (source.row.cached === cached) {
        this.#tokens -= cached;
        return from;
      }
      this.#finished.push(from);
    }
    const empty = this.#holders.indexOf(undefined);
    return empty < 0 ? this.#holders.push(undefined) - 1 : empty;
  }
}

/** Where to look for a prompt; undefined for one that is too short to share. */
function startOf(prompt: Int32Array | undefined): string | undefined {
  if (prompt === undefined || prompt.length < minShared) return undefined;
  return prompt.subarray(0, minShared).join();
}

/** Tokens that a prompt, its last one left out, and another row's sequence have in common at their start. */
function sharedLength(prompt: Int32Array, { request, tokens }: Row): number {
  const limit = Math.min(prompt.length - 1, request.prompt.length + tokens.length);
  for (let at = 0; at < limit; at++) {
    const other = request.prompt[at] ?? tokens[at - request.prompt.length];
    if (prompt[at] !== other) return at;
  }
  return limit;
}
