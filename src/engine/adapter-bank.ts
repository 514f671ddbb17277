import type { Decoder } from './decoder.ts';
import {
  type Adapter,
  adapterWrites,
  buildBank,
  disposeBank,
  keepBank,
  type LoraBank,
} from './lora.ts';
import { tidy } from './scope.ts';

/** The adapters of a changing batch, laid out for its passes; laid out again when one comes, goes or was written to. */
export class AdapterBank {
  readonly #decoder: Decoder;
  #bank: LoraBank | undefined;
  /** Writes to the bank's adapters when they were laid out. */
  #writes = 0;

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  /**
   * The layout for a pass; stays this object's.
   *
   * @param needed adapters of all sequences under way
   * @returns undefined when there are none; the same object as before while they and their tensors are the same
   */
  of(needed: ReadonlySet<Adapter>): LoraBank | undefined {
    if (needed.size === 0) return undefined;
    const current = this.#bank;
    if (current !== undefined && this.#isFresh(current, needed)) return current;
    this.dispose();
    const bank = tidy(() => keepBank(buildBank(this.#decoder.config, [...needed], this.#decoder)));
    this.#bank = bank;
    this.#writes = writesOf(bank);
    return bank;
  }

  dispose(): void {
    if (this.#bank !== undefined) disposeBank(this.#bank);
    this.#bank = undefined;
  }

  #isFresh(bank: LoraBank, needed: ReadonlySet<Adapter>): boolean {
    const { adapters } = bank;
    // One that nothing needs any more may be gone already, so its writes cannot be counted.
    if (adapters.some((adapter) => !needed.has(adapter))) return false;
    return needed.size === adapters.length && this.#writes === writesOf(bank);
  }
}

function writesOf({ adapters }: LoraBank): number {
  return adapters.reduce((sum, adapter) => sum + adapterWrites(adapter), 0);
}
