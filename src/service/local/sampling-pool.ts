import type { Decoder } from '../../engine/decoder.ts';
import type { Generated, GenerationRequest, GeneratorOptions } from '../../engine/generation.ts';
import { createGenerator } from '../../engine/generator.ts';
import { BoundaryError } from '../../errors.ts';

type Waiting = {
  readonly resolve: (generated: Generated) => void;
  readonly reject: (error: unknown) => void;
};

/** All samplers' requests in one generator: rows of several policies share a batch. */
export type SamplingPool = {
  /** Rejects with the signal's reason when it aborts. */
  readonly sample: (request: GenerationRequest, signal?: AbortSignal) => Promise<Generated>;
  /** One prefill or one token of every row; false when nothing waits. */
  readonly step: () => boolean;
  readonly sampledTokens: () => number;
  /** Of the keys and values of sequences. */
  readonly cacheBytes: () => number;
  readonly close: () => void;
};

/** @param wake called when a request has come */
export function createSamplingPool(
  decoder: Decoder,
  options: GeneratorOptions,
  wake: () => void,
): SamplingPool {
  const generator = createGenerator(decoder, options);
  const waiting = new Map<number, Waiting>();
  let sampledTokens = 0;
  let isClosed = false;

  const sample = async (request: GenerationRequest, signal?: AbortSignal): Promise<Generated> => {
    signal?.throwIfAborted();
    if (isClosed)
      throw new BoundaryError('engine', 'The service is closed; create another to sample');
    const id = generator.submit(request);
    let stop: (() => void) | undefined;
    const generated = new Promise<Generated>((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      stop = () => {
        generator.cancel(id);
        waiting.delete(id);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', stop, { once: true });
    });
    wake();
    try {
      return await generated;
    } finally {
      if (stop !== undefined) signal?.removeEventListener('abort', stop);
    }
  };

  const step = (): boolean => {
    if (generator.pending === 0) return false;
    try {
      for (const generated of generator.step()) {
        sampledTokens += generated.tokens.length;
        waiting.get(generated.id)?.resolve(generated);
        waiting.delete(generated.id);
      }
    } catch (error) {
      failAll(error);
    }
    return true;
  };

  /** A failed step leaves nothing whose state can be trusted. */
  const failAll = (error: unknown): void => {
    generator.dispose();
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };

  const close = (): void => {
    isClosed = true;
    failAll(new BoundaryError('engine', 'The service was closed while this sample was under way'));
  };

  const cacheBytes = (): number => generator.cacheBytes;
  return { sample, step, sampledTokens: () => sampledTokens, cacheBytes, close };
}
