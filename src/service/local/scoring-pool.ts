import type { Decoder } from '../../engine/decoder.ts';
import type { Adapter } from '../../engine/lora.ts';
import { scoreRows } from '../../engine/score-rows.ts';
import { BoundaryError } from '../../errors.ts';

/** Where the weights of a waiting sequence come from. */
type Lease = { readonly acquire: () => Adapter | undefined; readonly release: () => void };

type Waiting = {
  readonly tokens: Int32Array;
  readonly lease: Lease;
  readonly resolve: (logprobs: Float32Array) => void;
  readonly reject: (error: unknown) => void;
};

/** All samplers' sequences to be scored: as many together as a pass may hold, in the order in which they came. */
export type ScoringPool = {
  /** @returns log-probability of each of at least two tokens given those before it; entry 0 is NaN */
  readonly score: (tokens: Int32Array, lease: Lease) => Promise<Float32Array>;
  /** Does one pass; false when nothing waits. */
  readonly step: () => boolean;
  readonly close: (reason: string) => void;
};

/**
 * @param wake called when a sequence has come
 * @returns undefined for a decoder whose numbers would depend on what else is scored
 */
export function createScoringPool(
  decoder: Decoder,
  maxTokens: number,
  wake: () => void,
): ScoringPool | undefined {
  if (!decoder.hasKernels) return undefined;
  const waiting: Waiting[] = [];
  let closed: string | undefined;

  const score = (tokens: Int32Array, lease: Lease): Promise<Float32Array> => {
    if (closed !== undefined) return Promise.reject(new BoundaryError('engine', closed));
    const result = new Promise<Float32Array>((resolve, reject) => {
      waiting.push({ tokens, lease, resolve, reject });
    });
    wake();
    return result;
  };

  const takeBatch = (): readonly Waiting[] => {
    let tokens = 0;
    const isOver = ({ tokens: { length } }: Waiting, index: number) => {
      tokens += length;
      return index > 0 && tokens > maxTokens;
    };
    const end = waiting.findIndex(isOver);
    return waiting.splice(0, end < 0 ? waiting.length : end);
  };

  const step = (): boolean => {
    const batch = takeBatch();
    if (batch.length === 0) return false;
    const leased: Waiting[] = [];
    try {
      const rows = batch.map((one) => {
        const adapter = one.lease.acquire();
        leased.push(one);
        return { tokens: one.tokens, ...(adapter && { adapter }) };
      });
      const results = scoreRows(decoder, rows);
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Float32Array);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      for (const { lease } of leased) lease.release();
    }
    return true;
  };

  const close = (reason: string): void => {
    closed = reason;
    for (const { reject } of waiting.splice(0)) reject(new BoundaryError('engine', reason));
  };

  return { score, step, close };
}
