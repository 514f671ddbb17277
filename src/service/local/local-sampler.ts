import type { Adapter } from '../../engine/lora.ts';
import { BoundaryError } from '../../errors.ts';
import type { SampleParams, Sampler, Sequence } from '../../types/training-service.ts';
import { checkTokens } from './check-data.ts';
import type { EngineRoom } from './engine-room.ts';
import { runPass } from './run-pass.ts';
import { stopRule } from './stop-strings.ts';
import type { UnitsOfWork } from './work-queue.ts';

/** Where a sampler's weights come from; tensors may be used from `acquire` to `release`. */
export type WeightsLease = {
  /** The adapter, or undefined for the decoder as it is. @throws BoundaryError("engine") when the weights are gone */
  readonly acquire: () => Adapter | undefined;
  readonly release: () => void;
};

/** Of the decoder as it is, whose weights nobody changes. */
export const baseLease = {
  acquire: () => undefined,
  release: () => undefined,
  retire: () => undefined,
} satisfies WeightsLease & { readonly retire: () => void };

/** @param room.pool all samplers share it, so rows of several policies make one batch */
export function createLocalSampler(
  room: EngineRoom,
  identity: { readonly policyId: string | undefined; readonly version: number },
  lease: WeightsLease,
): Sampler {
  const sample = async (
    prompt: Int32Array,
    params: SampleParams,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Sequence> => {
    checkTokens(prompt, 'the prompt', room.decoder.config);
    const { stopStrings = [] } = params;
    const isEnd = stopStrings.length === 0 ? undefined : stopRule(stopStrings, room.decode);
    const adapter = lease.acquire();
    try {
      const request = { ...params, prompt, ...(adapter && { adapter }), ...(isEnd && { isEnd }) };
      const { id: _, ...sampled } = await room.pool.sample(request, options.signal);
      return { ...sampled, version: identity.version };
    } finally {
      lease.release();
    }
  };
  const logprobs = async (tokens: Int32Array): Promise<Float32Array> => {
    checkSequence(tokens, room);
    if (tokens.length === 1) return Float32Array.of(Number.NaN);
    return room.scoringPool === undefined
      ? room.scoring.submit(() => scoreSequence(room, lease, tokens)).result
      : room.scoringPool.score(tokens, lease);
  };
  return { ...identity, sample, logprobs };
}

function checkSequence(tokens: Int32Array, { decoder }: EngineRoom): void {
  checkTokens(tokens, 'the sequence', decoder.config);
  if (tokens.length > 0) return;
  throw new BoundaryError('engine', 'Expected at least one token to score');
}

function* scoreSequence(
  room: EngineRoom,
  lease: WeightsLease,
  tokens: Int32Array,
): UnitsOfWork<Float32Array> {
  const logprobs = new Float32Array(tokens.length).fill(Number.NaN);
  const adapter = lease.acquire();
  try {
    const data = [{ input: tokens.slice(0, -1), target: tokens.slice(1) }];
    const { decoder, microBatchTokens, isCheckpointed } = room;
    const pass = { decoder, adapter, valueHead: undefined, data, microBatchTokens, isCheckpointed };
    const result = yield* runPass(pass);
    logprobs.set(result.logprobs[0] ?? [], 1);
    return logprobs;
  } finally {
    lease.release();
  }
}
