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

/** Consecutive rows of a pass under one adapter, the only one of the bank. */
export type AdapterRun = {
  readonly bank: LoraBank;
  readonly start: number;
  readonly count: number;
};

/**
 * Where rows of one adapter stand together: none is multiplied by another's factors.
 *
 * @param owners per row; undefined = the base alone, which is in no run
 */
export function adapterRuns(
  owners: readonly (Adapter | undefined)[],
  bankOf: (adapter: Adapter) => LoraBank,
): readonly AdapterRun[] {
  const runs: AdapterRun[] = [];
  let start = 0;
  for (let end = 1; end <= owners.length; end++) {
    const owner = owners[start];
    if (end < owners.length && owners[end] === owner) continue;
    if (owner !== undefined) runs.push({ bank: bankOf(owner), start, count: end - start });
    start = end;
  }
  return runs;
}

/** The adapters of a changing batch, each laid out for passes by itself; again when it was written to. */
export class AdapterBanks {
  readonly #decoder: Decoder;
  readonly #banks = new Map<Adapter, { readonly bank: LoraBank; readonly writes: number }>();

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  /** @param needed adapters of all sequences under way; others are forgotten, since they may be gone already */
  runsOf(
    owners: readonly (Adapter | undefined)[],
    needed: ReadonlySet<Adapter>,
  ): readonly AdapterRun[] {
    for (const adapter of this.#banks.keys()) if (!needed.has(adapter)) this.#forget(adapter);
    return adapterRuns(owners, (adapter) => this.#bankOf(adapter));
  }

  dispose(): void {
    for (const adapter of this.#banks.keys()) this.#forget(adapter);
  }

  #bankOf(adapter: Adapter): LoraBank {
    const writes = adapterWrites(adapter);
    const known = this.#banks.get(adapter);
    if (known?.writes === writes) return known.bank;
    this.#forget(adapter);
    const bank = tidy(() => keepBank(buildBank(this.#decoder.config, [adapter], this.#decoder)));
    this.#banks.set(adapter, { bank, writes });
    return bank;
  }

  #forget(adapter: Adapter): void {
    const known = this.#banks.get(adapter);
    if (known !== undefined) disposeBank(known.bank);
    this.#banks.delete(adapter);
  }
}
