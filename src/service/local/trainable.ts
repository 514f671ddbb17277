import { join } from 'node:path';
import { saveAdapterFolder } from '../../engine/adapter-folder.ts';
import { noGrad } from '../../engine/autograd.ts';
import { type Decoder, trainDecoder } from '../../engine/decoder.ts';
import { loadAdapter, storeAdapter, storeWeights } from '../../engine/load-model.ts';
import {
  type Adapter,
  adapterParameters,
  createAdapter,
  disposeAdapter,
} from '../../engine/lora.ts';
import { openModelFolder, saveModelFolder } from '../../engine/model-folder.ts';
import { copyTo } from '../../engine/ops.ts';
import { toFloat32 } from '../../engine/safetensors.ts';
import { tidy } from '../../engine/scope.ts';
import { type Tensor, tensorOf } from '../../engine/tensor.ts';
import {
  createValueHead,
  disposeValueHead,
  hasValueHead,
  loadValueHead,
  storeValueHead,
  type ValueHead,
  valueHeadParameters,
} from '../../engine/value-head.ts';
import { BoundaryError } from '../../errors.ts';
import type { PolicyOptions } from '../../types/training-service.ts';
import { AdapterSnapshot } from './adapter-snapshot.ts';
import type { WeightsLease } from './local-sampler.ts';

/** The weights a policy trains: an adapter, or the decoder itself. */
export type Trainable = {
  /** Absent = the decoder itself. */
  readonly adapter: Adapter | undefined;
  readonly valueHead: ValueHead | undefined;
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Whether it is an adapter that changes nothing until the first step: the base alone gives the same bits in less time. */
  readonly startsAsBase: boolean;
  /** Weights as they are now, for a sampler that outlives the next step. */
  readonly snapshot: () => WeightsLease & { readonly retire: () => void };
  /** Copies the weights at once; the returned function writes them into an existing folder. */
  readonly store: () => (directory: string) => Promise<void>;
  /** Requests that read the very tensors a step would change. */
  readonly users: () => number;
  readonly dispose: () => void;
};

/**
 * A new or loaded adapter.
 *
 * @throws BoundaryError("engine") when a loaded one has another rank or alpha than asked for
 */
export async function createTrainableAdapter(
  decoder: Decoder,
  options: PolicyOptions & { readonly rank: number | 'stored' },
  modelName: string,
): Promise<Trainable> {
  const adapter = await openAdapter(decoder, options);
  const { device } = decoder;
  return {
    adapter,
    valueHead: undefined,
    parameters: adapterParameters(adapter),
    startsAsBase: options.from === undefined,
    snapshot: () => new AdapterSnapshot(adapter, device),
    store: () => {
      const stored = storeAdapter(adapter);
      return (directory) => saveAdapterFolder(directory, stored, modelName);
    },
    users: () => 0,
    dispose: () => disposeAdapter(adapter),
  };
}

async function openAdapter(
  { config, device }: Decoder,
  options: PolicyOptions & { readonly rank: number | 'stored' },
): Promise<Adapter> {
  const { id, rank, alpha, seed, from, targets } = options;
  if (from === undefined) {
    if (rank !== 'stored') {
      const wanted = { ...(alpha !== undefined && { alpha }), ...(targets && { targets }) };
      return createAdapter(config, { rank, seed, device, ...wanted });
    }
    throw new BoundaryError('engine', `policy "${id}": rank "stored" needs a folder in \`from\``);
  }
  const adapter = await loadAdapter(from.directory, config, device);
  const rankFits = rank === 'stored' || rank === adapter.rank;
  if (rankFits && (alpha === undefined || alpha === adapter.alpha)) return adapter;
  disposeAdapter(adapter);
  throw new BoundaryError(
    'engine',
    `${from.directory} has rank ${adapter.rank} and alpha ${adapter.alpha}; expected rank ${rank}${alpha === undefined ? '' : ` and alpha ${alpha}`}`,
  );
}

/**
 * The same weights with a value head: a stored one where the folder of `from` has it, else one that predicts 0. It takes
 * the weights over, and frees them when the stored head does not fit.
 */
export async function addValueHead(
  weights: Trainable,
  { config, device }: Decoder,
  { from }: PolicyOptions,
): Promise<Trainable> {
  try {
    const isStored = from !== undefined && (from.optimizer || (await hasValueHead(from.directory)));
    const valueHead = isStored
      ? await loadValueHead(from.directory, config, device)
      : createValueHead(config, device);
    return {
      ...weights,
      valueHead,
      parameters: new Map([...weights.parameters, ...valueHeadParameters(valueHead)]),
      store: () => {
        const [writeWeights, writeHead] = [weights.store(), storeValueHead(valueHead)];
        return async (directory) => {
          await writeWeights(directory);
          await writeHead(directory);
        };
      },
      dispose: () => {
        weights.dispose();
        disposeValueHead(valueHead);
      },
    };
  } catch (error) {
    weights.dispose();
    throw error;
  }
}

/** The decoder itself, optionally with the weights of another folder of the same shape. */
export async function createTrainableDecoder(
  decoder: Decoder,
  options: PolicyOptions,
): Promise<Trainable> {
  if (options.from !== undefined) await replaceWeights(decoder, options.from.directory);
  const parameters = trainDecoder(decoder);
  let users = 0;
  const snapshot = () => {
    let isNewest = true;
    const acquire = () => {
      if (!isNewest) {
        throw new BoundaryError(
          'engine',
          'A fully fine-tuned model keeps one version: publish again after each step to sample',
        );
      }
      users++;
      return undefined;
    };
    const release = () => {
      users--;
    };
    const retire = () => {
      isNewest = false;
    };
    return { acquire, release, retire };
  };
  const store = () => {
    const weights = storeWeights(decoder);
    return (directory: string) => saveModelFolder(directory, decoder.config, weights);
  };
  // The decoder belongs to the service, which frees it.
  return {
    adapter: undefined,
    valueHead: undefined,
    parameters,
    startsAsBase: false,
    snapshot,
    store,
    users: () => users,
    dispose: () => undefined,
  };
}

async function replaceWeights(decoder: Decoder, directory: string): Promise<void> {
  const folder = await openModelFolder(directory);
  for (const [name, target] of decoder.weights) {
    const stored = await folder.read(name);
    if (stored.shape.join() !== target.shape.join()) {
      throw new BoundaryError(
        'engine',
        `${join(directory, name)} is [${stored.shape.join(', ')}], the model's is [${target.shape.join(', ')}]`,
      );
    }
    noGrad(() => tidy(() => copyTo(target, tensorOf(toFloat32(stored), stored.shape))));
  }
}
