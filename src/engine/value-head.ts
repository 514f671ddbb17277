import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { BoundaryError } from '../errors.ts';
import { requireGrad } from './autograd.ts';
import type { ModelConfig } from './model-config.ts';
import { convert, linear, reshape, zeros } from './ops.ts';
import {
  openSafetensors,
  readStoredTensor,
  type StoredTensor,
  storeFloat32,
  toFloat32,
  writeSafetensors,
} from './safetensors.ts';
import { keep } from './scope.ts';
import { type Device, type Tensor, tensorOf } from './tensor.ts';

const fileName = 'value_head.safetensors';
const names = { weight: 'value_head.weight', bias: 'value_head.bias' } as const;

/** A scalar read from the last hidden state: the reward that is still to come. float32. */
export type ValueHead = {
  /** [1, hiddenSize] */
  readonly weight: Tensor;
  /** [1] */
  readonly bias: Tensor;
};

/** A head that predicts 0 everywhere. Caller frees with `disposeValueHead`; its tensors collect gradients. */
export function createValueHead({ hiddenSize }: ModelConfig, device: Device): ValueHead {
  return {
    weight: keep(requireGrad(zeros([1, hiddenSize], { device }))),
    bias: keep(requireGrad(zeros([1], { device }))),
  };
}

export function disposeValueHead({ weight, bias }: ValueHead): void {
  weight.dispose();
  bias.dispose();
}

export function valueHeadParameters(head: ValueHead): ReadonlyMap<string, Tensor> {
  return new Map([
    [names.weight, head.weight],
    [names.bias, head.bias],
  ]);
}

/**
 * @param normed [tokens, hiddenSize] of `normFinal`
 * @returns float32 [tokens]. Caller frees
 */
export function valuesOf(head: ValueHead, normed: Tensor): Tensor {
  const input = normed.dtype === 'float32' ? normed : convert(normed, { dtype: 'float32' });
  return reshape(linear(input, head.weight, head.bias), [-1]);
}

/** Copies a head's weights at once; the returned function writes them into an existing folder. */
export function storeValueHead({ weight, bias }: ValueHead): (directory: string) => Promise<void> {
  const stored = new Map<string, StoredTensor>([
    [names.weight, storeFloat32(weight.toFloat32Array(), weight.shape)],
    [names.bias, storeFloat32(bias.toFloat32Array(), bias.shape)],
  ]);
  return (directory) => writeSafetensors(join(directory, fileName), stored);
}

/** Whether a folder has a head as `storeValueHead` writes it. */
export async function hasValueHead(directory: string): Promise<boolean> {
  try {
    await access(join(directory, fileName));
    return true;
  } catch {
    return false;
  }
}

/**
 * A head as `storeValueHead` wrote it. Caller frees with `disposeValueHead`.
 *
 * @throws BoundaryError("engine") when the folder has none, or one for another width
 */
export async function loadValueHead(
  directory: string,
  { hiddenSize }: ModelConfig,
  device: Device,
): Promise<ValueHead> {
  if (!(await hasValueHead(directory))) {
    throw new BoundaryError(
      'engine',
      `${directory} holds no value head (${fileName}), which is what training without a critic leaves: train without one here, too, or start elsewhere`,
    );
  }
  const file = await openSafetensors(join(directory, fileName));
  const [weight, bias] = [
    toFloat32(await readStoredTensor(file, names.weight)),
    toFloat32(await readStoredTensor(file, names.bias)),
  ];
  if (weight.length !== hiddenSize || bias.length !== 1) {
    throw new BoundaryError(
      'engine',
      `${file.path} is a head for a model of width ${weight.length}; this model's is ${hiddenSize}`,
    );
  }
  return {
    weight: keep(requireGrad(tensorOf(weight, [1, hiddenSize], device))),
    bias: keep(requireGrad(tensorOf(bias, [1], device))),
  };
}
