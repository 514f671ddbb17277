import type { StoredAdapter } from '../../engine/adapter-folder.ts';
import { requireGrad } from '../../engine/autograd.ts';
import { adapterOf, storeAdapter } from '../../engine/load-model.ts';
import { type Adapter, adapterParameters, disposeAdapter } from '../../engine/lora.ts';
import type { Device } from '../../engine/tensor.ts';

/**
 * An adapter's values at one version, for as long as anyone holds a sampler of it.
 *
 * The values live in ordinary arrays, which the garbage collector frees with the last sampler. Tensors exist only while
 * requests use them or while the version is the policy's newest, so their number stays bounded without anyone closing
 * samplers.
 */
export class AdapterSnapshot {
  readonly #stored: StoredAdapter;
  readonly #device: Device;
  #adapter: Adapter | undefined;
  #users = 0;
  #isNewest = true;

  constructor(adapter: Adapter, device: Device) {
    this.#stored = storeAdapter(adapter);
    this.#device = device;
  }

  /** The snapshot as tensors, until as many calls of `release`. */
  readonly acquire = (): Adapter => {
    this.#users++;
    this.#adapter ??= frozenAdapter(this.#stored, this.#device);
    return this.#adapter;
  };

  readonly release = (): void => {
    this.#users--;
    this.#freeIfIdle();
  };

  /** Says that the policy has moved on (or is closed). */
  readonly retire = (): void => {
    this.#isNewest = false;
    this.#freeIfIdle();
  };

  #freeIfIdle(): void {
    if (this.#isNewest || this.#users > 0 || this.#adapter === undefined) return;
    disposeAdapter(this.#adapter);
    this.#adapter = undefined;
  }
}

function frozenAdapter(stored: StoredAdapter, device: Device): Adapter {
  const adapter = adapterOf(stored, device);
  for (const tensor of adapterParameters(adapter).values()) requireGrad(tensor, false);
  return adapter;
}
