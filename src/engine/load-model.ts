import { loadAdapterFolder, type StoredAdapter, type StoredLora } from './adapter-folder.ts';
import { requireGrad } from './autograd.ts';
import { createDecoder, type Decoder } from './decoder.ts';
import type { Adapter, LoraPair } from './lora.ts';
import type { ModelConfig } from './model-config.ts';
import { expectedWeights, openModelFolder } from './model-folder.ts';
import { convert } from './ops.ts';
import type { StoredDtype, StoredTensor } from './safetensors.ts';
import { keep, tidy } from './scope.ts';
import { type Device, type DType, type Tensor, tensorOf, tensorOfBytes } from './tensor.ts';

const dtypeOfStored: Readonly<Record<StoredDtype, DType>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
};

const storedOfDtype: Readonly<Partial<Record<DType, StoredDtype>>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
};

/**
 * Loads a Hugging Face folder into a decoder. Caller frees with `disposeDecoder`.
 *
 * @throws BoundaryError("engine") when the folder does not hold a model that the engine can run
 */
export async function loadDecoder(
  directory: string,
  placement: { readonly dtype: DType; readonly device: Device },
): Promise<Decoder> {
  const folder = await openModelFolder(directory);
  const weights = new Map<string, Tensor>();
  try {
    for (const name of expectedWeights(folder.config).keys()) {
      weights.set(name, placeStored(await folder.read(name), placement));
    }
    return createDecoder(folder.config, weights);
  } finally {
    for (const tensor of weights.values()) tensor.dispose();
  }
}

function placeStored(
  stored: StoredTensor,
  placement: { readonly dtype: DType; readonly device: Device },
): Tensor {
  const asStored = { dtype: dtypeOfStored[stored.dtype], device: 'cpu' };
  const isSame = asStored.dtype === placement.dtype && placement.device === 'cpu';
  const tensor = () => tensorOfBytes(stored.bytes, stored.shape, asStored);
  // A copy more of the largest weight would be the peak of the whole run of a small step.
  return keep(tidy(() => (isSame ? tensor() : convert(tensor(), placement))));
}

/** A copy of a decoder's weights as they are now, by Hugging Face name, in the decoder's own dtype. */
export function storeWeights(decoder: Decoder): ReadonlyMap<string, StoredTensor> {
  const dtype = storedOfDtype[decoder.dtype] ?? 'F32';
  const stored = new Map<string, StoredTensor>();
  for (const [name, tensor] of decoder.weights) {
    stored.set(name, { dtype, shape: tensor.shape, bytes: tensor.toBytes() });
  }
  return stored;
}

/** Loads a PEFT folder as a trainable adapter. Caller frees with `disposeAdapter`. */
export async function loadAdapter(
  directory: string,
  config: ModelConfig,
  device: Device,
): Promise<Adapter> {
  return adapterOf(await loadAdapterFolder(directory, config), device);
}

/** A trainable adapter with a copy of stored values. Caller frees with `disposeAdapter`. */
export function adapterOf(stored: StoredAdapter, device: Device): Adapter {
  const modules = new Map<string, LoraPair>();
  const { rank, alpha } = stored;
  for (const [path, { a, b }] of stored.modules) {
    const place = (values: Float32Array, shape: readonly number[]) =>
      keep(requireGrad(tensorOf(values, shape, device)));
    modules.set(path, {
      a: place(a, [rank, a.length / rank]),
      b: place(b, [b.length / rank, rank]),
    });
  }
  return { rank, alpha, modules };
}

/** A copy of an adapter's values outside the engine. */
export function storeAdapter(adapter: Adapter): StoredAdapter {
  const modules = new Map<string, StoredLora>();
  for (const [path, { a, b }] of adapter.modules) {
    modules.set(path, { a: a.toFloat32Array(), b: b.toFloat32Array() });
  }
  return { rank: adapter.rank, alpha: adapter.alpha, modules };
}
