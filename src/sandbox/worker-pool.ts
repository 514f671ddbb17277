import { BoundaryError } from '../errors.ts';
import type { PythonWorker } from './start-worker.ts';

/** A few workers, started when first needed; a broken one is replaced in the background. */
export type WorkerPool = {
  /** Waits for a free worker; rejects with the signal's reason when aborted, or when a worker cannot be started. */
  readonly acquire: (signal?: AbortSignal) => Promise<PythonWorker>;
  /** Gives it back at once; it is free when it is in its first state again. Never rejects. */
  readonly release: (worker: PythonWorker) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Resolves when a worker may have come free. */
type Waiting = () => void;

/** Queues up until woken; leaves the queue and rejects when aborted. */
function waitForTurn(waiting: Waiting[], signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      waiting.splice(waiting.indexOf(wake), 1);
      reject(signal?.reason);
    };
    const wake: Waiting = () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    waiting.push(wake);
  });
}

/** A pool of at most `size` workers, each made by `start`. */
export function createWorkerPool(size: number, start: () => Promise<PythonWorker>): WorkerPool {
  const idle: PythonWorker[] = [];
  const waiting: Waiting[] = [];
  /** Every worker that is alive or being started. */
  const workers = new Set<Promise<PythonWorker>>();
  const owner = new WeakMap<PythonWorker, Promise<PythonWorker>>();
  let isClosed = false;

  const wakeNext = () => waiting.shift()?.();

  const startOne = async (): Promise<PythonWorker> => {
    const starting = start();
    workers.add(starting);
    try {
      const worker = await starting;
      owner.set(worker, starting);
      return worker;
    } catch (error) {
      workers.delete(starting);
      wakeNext();
      throw error;
    }
  };

  const acquire = async (signal?: AbortSignal): Promise<PythonWorker> => {
    for (;;) {
      signal?.throwIfAborted();
      if (isClosed) throw new BoundaryError('tool', 'The Python sandbox has been closed.');
      const worker = idle.pop();
      if (worker?.isUsable()) return worker;
      if (worker !== undefined) forget(worker);
      else if (workers.size < size) return startOne();
      else await waitForTurn(waiting, signal);
    }
  };

  const forget = (worker: PythonWorker) => {
    const starting = owner.get(worker);
    if (starting !== undefined) workers.delete(starting);
    // Ending a thread cannot fail; nobody waits for it.
    void worker.stop();
  };

  const replace = async (): Promise<void> => {
    try {
      idle.push(await startOne());
    } catch (error) {
      // The next acquire tries again and reports its own failure.
      if (!(error instanceof BoundaryError)) throw error;
    }
    wakeNext();
  };

  const release = async (worker: PythonWorker) => {
    // What one run has left behind must not meet the next, nor count against its time.
    await worker.restored();
    if (worker.isUsable()) idle.push(worker);
    else {
      forget(worker);
      if (!isClosed) void replace();
    }
    wakeNext();
  };

  const close = async () => {
    isClosed = true;
    const ending = [...workers];
    while (waiting.length > 0) wakeNext();
    const started = await Promise.allSettled(ending);
    await Promise.all(
      started.map((one) => (one.status === 'fulfilled' ? one.value.stop() : undefined)),
    );
    idle.length = 0;
    workers.clear();
  };

  return { acquire, release, close };
}
