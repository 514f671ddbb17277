import { join } from 'node:path';
import { z } from 'zod';
import type { AdamW } from '../../engine/optimizer.ts';
import {
  openSafetensors,
  readStoredTensor,
  type StoredTensor,
  storeFloat32,
  toFloat32,
  writeSafetensors,
} from '../../engine/safetensors.ts';
import { tidy } from '../../engine/scope.ts';
import { type Device, type Tensor, tensorOf } from '../../engine/tensor.ts';
import { BoundaryError } from '../../errors.ts';

const fileName = 'optimizer.safetensors';

/** Copies an optimiser's moments and step count at once; the returned function writes them into a folder. */
export function storeOptimizer(optimizer: AdamW): (directory: string) => Promise<void> {
  const stored = new Map<string, StoredTensor>();
  const step = tidy(() => {
    const state = optimizer.state();
    for (const [name, tensor] of state.tensors) {
      stored.set(name, storeFloat32(tensor.toFloat32Array(), tensor.shape));
    }
    return state.step;
  });
  return (directory) => writeSafetensors(join(directory, fileName), stored, { step: `${step}` });
}

/**
 * Puts a stored state back into an optimiser.
 *
 * @returns finished steps
 * @throws BoundaryError("engine") when the folder has no state, or one of other parameters
 */
export async function restoreOptimizer(
  optimizer: AdamW,
  directory: string,
  device: Device,
): Promise<number> {
  const file = await openSafetensors(join(directory, fileName));
  const step = z.coerce.number().int().nonnegative().safeParse(file.metadata.step);
  if (!step.success) {
    throw new BoundaryError('engine', `${file.path} does not say how many steps were finished`);
  }
  const arrays = new Map<string, StoredTensor>();
  for (const name of file.entries.keys()) arrays.set(name, await readStoredTensor(file, name));
  tidy(() => {
    const tensors = new Map<string, Tensor>();
    for (const [name, stored] of arrays) {
      tensors.set(name, tensorOf(toFloat32(stored), stored.shape, device));
    }
    optimizer.load({ step: step.data, tensors });
  });
  return step.data;
}
