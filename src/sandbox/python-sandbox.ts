import { BoundaryError, messageOf } from '../errors.ts';
import type {
  Execution,
  ExecutionOptions,
  ExecutionStatus,
  FileChanges,
  Sandbox,
} from '../types/sandbox.ts';
import { stoppedOutput } from './describe-end.ts';
import { readFolder } from './files-below.ts';
import { checkLimits, defaultLimits, type SandboxLimits } from './limits.ts';
import { bridgeClosed } from './seal-bridge.ts';
import { type RunOutcome, startPythonWorker } from './start-worker.ts';
import { createWorkerPool } from './worker-pool.ts';

/** An interpreter has no processes to bound. */
type InterpreterLimits = Omit<SandboxLimits, 'processes'>;

export type PythonSandboxOptions = Partial<InterpreterLimits> & {
  /** Threads, each with an interpreter of about 100 MB; default 1. */
  readonly workers?: number;
  /** Of an interpreter's start; default 60 000. */
  readonly startLimitMs?: number;
  /** Another worker file, for tests of our own failures. */
  readonly workerFile?: URL;
};

const statusOfLetter: Readonly<Record<string, ExecutionStatus>> = {
  o: 'ok',
  e: 'error',
  d: 'denied',
  l: 'output-limit',
  m: 'memory',
  k: 'error',
};

/** Room for a traceback behind the output. */
const tracebackRoom = 4096;

type Limits = InterpreterLimits & { readonly workers: number; readonly startLimitMs: number };
type Verdict = Omit<Execution, 'durationMs'>;

const noChanges: FileChanges = { written: new Map(), removed: [] };

function ended(status: ExecutionStatus, output: string): Verdict {
  return { status, output, changes: noChanges };
}

function judgeResult(outcome: RunOutcome & { kind: 'result' }, limits: Limits): Verdict {
  const { text, left, timedOut } = outcome;
  const output = text.slice(1, 1 + limits.outputLimit + tracebackRoom);
  const bounds = { ...limits, processes: 1 };
  const changes = left === 'tooMany' ? noChanges : left;
  if (timedOut)
    return { status: 'timeout', output: stoppedOutput('timeout', output, bounds), changes };
  const status = statusOfLetter[text[0] ?? ''];
  if (status === undefined) return ended('error', 'The program broke the interpreter it ran in.\n');
  if (status === 'memory' || status === 'output-limit')
    return { status, output: stoppedOutput(status, output, bounds), changes };
  if (left === 'tooMany') return ended('file-limit', stoppedOutput('file-limit', output, bounds));
  return { status, output, changes };
}

function judge(outcome: RunOutcome, limits: Limits): Verdict {
  const bounds = { ...limits, processes: 1 };
  if (outcome.kind === 'result') return judgeResult(outcome, limits);
  if (outcome.timedOut) return ended('timeout', stoppedOutput('timeout', '', bounds));
  if (outcome.kind === 'crashed' && outcome.isMemoryFull)
    return ended('memory', stoppedOutput('memory', '', bounds));
  if (outcome.kind === 'crashed' && outcome.reason.includes('call stack'))
    return ended('error', 'RecursionError: the interpreter ran out of stack\n');
  if (outcome.kind === 'crashed' && outcome.reason.includes(bridgeClosed))
    return ended('denied', 'JavaScript objects are not allowed in the sandbox\n');
  if (outcome.kind === 'crashed' && outcome.isInProgram)
    return ended('error', 'The program ended or broke the interpreter it ran in.\n');
  return ended('infrastructure', `The Python sandbox failed: ${outcome.reason}.\n`);
}

/** What an interpreter in a thread may use by default: everything it uses is memory of this process. */
export const interpreterLimits: InterpreterLimits = {
  timeLimitMs: 5000,
  memoryBytes: 256 * 2 ** 20,
  outputLimit: defaultLimits.outputLimit,
  workspaceBytes: 16 * 2 ** 20,
  workspaceFiles: defaultLimits.workspaceFiles,
};

function withDefaults({ workerFile: _, ...options }: PythonSandboxOptions): Limits {
  return checkLimits({ ...interpreterLimits, workers: 1, startLimitMs: 60_000, ...options });
}

/**
 * A pool of Python interpreters, started at the first run.
 *
 * @throws BoundaryError("config") when a limit is not a positive integer
 */
export function createPythonSandbox(options: PythonSandboxOptions = {}): Sandbox {
  const limits = withDefaults(options);
  const pool = createWorkerPool(limits.workers, () =>
    startPythonWorker({
      memoryLimit: limits.memoryBytes,
      outputLimit: limits.outputLimit,
      workspaceBytes: limits.workspaceBytes,
      workspaceFiles: limits.workspaceFiles,
      startLimitMs: limits.startLimitMs,
      ...(options.workerFile === undefined ? {} : { file: options.workerFile }),
    }),
  );
  let isClosed = false;

  const runInPool = async (source: string, given: ExecutionOptions): Promise<Execution> => {
    const { folder, signal } = given;
    const worker = await pool.acquire(signal);
    const start = performance.now();
    try {
      signal?.throwIfAborted();
      const files = folder === undefined ? new Map() : await readFolder(folder);
      const outcome = await worker.run(
        { source, files },
        { timeLimitMs: limits.timeLimitMs, ...(signal === undefined ? {} : { signal }) },
      );
      signal?.throwIfAborted();
      return { ...judge(outcome, limits), durationMs: performance.now() - start };
    } finally {
      void pool.release(worker);
    }
  };

  return {
    name: 'pyodide',
    // It comes with the package: nothing can be missing.
    check: async () => undefined,
    run: async (source, given = {}) => {
      try {
        return await runInPool(source, given);
      } catch (error) {
        // A sandbox that cannot start is our failure, and a result like any other; a closed one is the caller's mistake.
        if (!(error instanceof BoundaryError) || isClosed || error === given.signal?.reason)
          throw error;
        return { ...ended('infrastructure', messageOf(error)), durationMs: 0 };
      }
    },
    close: async () => {
      isClosed = true;
      await pool.close();
    },
  };
}
