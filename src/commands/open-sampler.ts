import { BoundaryError } from '../errors.ts';
import type { Sampler } from '../types/training-service.ts';
import { createLocalService } from '../wire-service.ts';
import { type OptionHelp, optional, type Request, required } from './command.ts';

/** Options of commands that look at one model folder. */
export const modelOptions: Readonly<Record<string, OptionHelp>> = {
  model: { type: 'string', help: 'Hugging Face folder of a Qwen2, Qwen3, Llama or Mistral model' },
  adapter: { type: 'string', help: 'PEFT adapter folder to put on it' },
  tokens: { type: 'string', help: 'JSON file: an array of arrays of token ids' },
  device: { type: 'string', help: 'cpu (default) or cuda' },
  dtype: { type: 'string', help: 'float32 (default), bfloat16 or float16' },
};

const dtypes = ['float32', 'bfloat16', 'float16'] as const;

function dtypeOf(request: Request): (typeof dtypes)[number] {
  const text = optional(request, 'dtype') ?? 'float32';
  const dtype = dtypes.find((known) => known === text);
  if (dtype !== undefined) return dtype;
  throw new BoundaryError('config', `--dtype: expected ${dtypes.join(', ')}, got ${text}`);
}

/** Runs `use` with a sampler of the model, with the adapter if one is named. */
export async function withSampler<Result>(
  request: Request,
  use: (sampler: Sampler) => Promise<Result>,
): Promise<Result> {
  const service = await createLocalService({
    model: {
      path: required(request, 'model'),
      device: optional(request, 'device') ?? 'cpu',
      dtype: dtypeOf(request),
      maxRows: 64,
      microBatchTokens: 8192,
      gradientCheckpointing: false,
      decodeGraphs: false,
    },
  });
  try {
    const adapter = optional(request, 'adapter');
    if (adapter === undefined) return await use(await service.baseSampler());
    const policy = await service.createPolicy({
      id: 'adapter',
      seed: 0,
      rank: 'stored',
      from: { directory: adapter, optimizer: false },
    });
    return await use(await policy.publish().result);
  } finally {
    await service.close();
  }
}
