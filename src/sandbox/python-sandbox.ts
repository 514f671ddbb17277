import { BoundaryError, messageOf } from '../errors.ts';
import type { ToolResult, ToolStatus } from '../types/tool.ts';
import { bridgeClosed } from './seal-bridge.ts';
import { type RunOutcome, startPythonWorker } from './start-worker.ts';
import { createWorkerPool } from './worker-pool.ts';

export type PythonSandboxOptions = {
  /** Threads, each with an interpreter of about 100 MB; default 1. */
  readonly workers?: number;
  /** Of one run; default 5000. */
  readonly timeLimitMs?: number;
  /** Of one interpreter; default 256 MiB. */
  readonly memoryLimitBytes?: number;
  /** Characters of output after which a run is stopped; default 65536. */
  readonly outputLimit?: number;
  /** Of an interpreter's start; default 60 000. */
  readonly startLimitMs?: number;
  /** Another worker file, for tests of our own failures. */
  readonly workerFile?: URL;
};

/** Runs Python programs that know nothing of one another, the host or the network (see python-worker.ts). */
export type PythonSandbox = {
  /** `output` is stdout and stderr in the order written, then the traceback, if any. Rejects only when aborted or closed. */
  readonly run: (
    source: string,
    options?: { readonly signal?: AbortSignal },
  ) => Promise<ToolResult>;
  readonly close: () => Promise<void>;
};

const statusOfLetter: Readonly<Record<string, ToolStatus>> = {
  o: 'ok',
  e: 'error',
  d: 'denied',
  l: 'output-limit',
  m: 'memory',
  k: 'error',
};

/** Room for a traceback behind the output. */
const tracebackRoom = 4096;

type Verdict = Pick<ToolResult, 'status' | 'output'>;
type Limits = Required<Omit<PythonSandboxOptions, 'workerFile'>>;

function limitText(status: ToolStatus, limits: Limits): string {
  if (status === 'timeout') return `Stopped: it ran longer than ${limits.timeLimitMs} ms.`;
  if (status === 'memory')
    return `Stopped: it needed more than ${Math.round(limits.memoryLimitBytes / 2 ** 20)} MiB of memory.`;
  return `Stopped: it printed more than ${limits.outputLimit} characters.`;
}

function stopped(status: ToolStatus, output: string, limits: Limits): Verdict {
  const separator = output === '' || output.endsWith('\n') ? '' : '\n';
  return { status, output: `${output}${separator}${limitText(status, limits)}\n` };
}

function judgeResult(text: string, timedOut: boolean, limits: Limits): Verdict {
  const output = text.slice(1, 1 + limits.outputLimit + tracebackRoom);
  if (timedOut) return stopped('timeout', output, limits);
  const status = statusOfLetter[text[0] ?? ''];
  if (status === undefined)
    return { status: 'error', output: 'The program broke the interpreter it ran in.\n' };
  return status === 'memory' || status === 'output-limit'
    ? stopped(status, output, limits)
    : { status, output };
}

function judge(outcome: RunOutcome, limits: Limits): Verdict {
  if (outcome.kind === 'result') return judgeResult(outcome.text, outcome.timedOut, limits);
  if (outcome.timedOut) return stopped('timeout', '', limits);
  if (outcome.kind === 'crashed' && outcome.isMemoryFull) return stopped('memory', '', limits);
  if (outcome.kind === 'crashed' && outcome.reason.includes('call stack'))
    return { status: 'error', output: 'RecursionError: the interpreter ran out of stack\n' };
  if (outcome.kind === 'crashed' && outcome.reason.includes(bridgeClosed))
    return { status: 'denied', output: 'JavaScript objects are not allowed in the sandbox\n' };
  return { status: 'infrastructure', output: `The Python sandbox failed: ${outcome.reason}.\n` };
}

function withDefaults(options: PythonSandboxOptions): Limits {
  const limits = {
    workers: 1,
    timeLimitMs: 5000,
    memoryLimitBytes: 256 * 2 ** 20,
    outputLimit: 65536,
    startLimitMs: 60_000,
    ...options,
  };
  for (const [name, value] of Object.entries(limits))
    if (typeof value === 'number' && !(Number.isInteger(value) && value > 0))
      throw new BoundaryError(
        'config',
        `sandbox ${name} must be a positive integer, got ${value}.`,
      );
  return limits;
}

/**
 * A pool of Python interpreters, started at the first run.
 *
 * @throws BoundaryError("config") when a limit is not a positive integer
 */
export function createPythonSandbox(options: PythonSandboxOptions = {}): PythonSandbox {
  const limits = withDefaults(options);
  const pool = createWorkerPool(limits.workers, () =>
    startPythonWorker({
      memoryLimit: limits.memoryLimitBytes,
      outputLimit: limits.outputLimit,
      fileLimit: Math.floor(limits.memoryLimitBytes / 4),
      startLimitMs: limits.startLimitMs,
      ...(options.workerFile === undefined ? {} : { file: options.workerFile }),
    }),
  );
  let isClosed = false;

  const runInPool = async (
    source: string,
    signal: AbortSignal | undefined,
  ): Promise<ToolResult> => {
    const worker = await pool.acquire(signal);
    const start = performance.now();
    try {
      signal?.throwIfAborted();
      const outcome = await worker.run(source, {
        timeLimitMs: limits.timeLimitMs,
        ...(signal === undefined ? {} : { signal }),
      });
      signal?.throwIfAborted();
      return { tool: 'python', ...judge(outcome, limits), durationMs: performance.now() - start };
    } finally {
      pool.release(worker);
    }
  };

  return {
    run: async (source, { signal } = {}) => {
      try {
        return await runInPool(source, signal);
      } catch (error) {
        // A sandbox that cannot start is our failure, and a result like any other; a closed one is the caller's mistake.
        if (!(error instanceof BoundaryError) || isClosed || error === signal?.reason) throw error;
        return {
          tool: 'python',
          status: 'infrastructure',
          output: messageOf(error),
          durationMs: 0,
        };
      }
    },
    close: async () => {
      isClosed = true;
      await pool.close();
    },
  };
}
