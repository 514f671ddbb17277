import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { BoundaryError } from '../errors.ts';
import type {
  FilesLeft,
  RunRequest,
  WorkerCondition,
  WorkerMessage,
  WorkerSettings,
} from './worker-protocol.ts';

/** How one run in a worker ended; `timedOut`: it was asked to stop first. */
export type RunOutcome =
  | {
      readonly kind: 'result';
      readonly text: string;
      readonly left: FilesLeft;
      readonly timedOut: boolean;
    }
  | ({
      readonly kind: 'crashed';
      readonly reason: string;
      readonly isInProgram: boolean;
      readonly timedOut: boolean;
    } & Pick<WorkerCondition, 'isMemoryFull'>)
  | { readonly kind: 'died'; readonly reason: string; readonly timedOut: boolean };

/** One warm interpreter; one run at a time. */
export type PythonWorker = {
  /** Stops the run at the time limit or when `signal` aborts; never rejects. */
  readonly run: (request: RunRequest, limits: RunLimits) => Promise<RunOutcome>;
  /** Resolves when it is back in its first state after its last run, or will never be; never rejects. */
  readonly restored: () => Promise<void>;
  /** False once it died, crashed or has grown too large. */
  readonly isUsable: () => boolean;
  readonly stop: () => Promise<void>;
};

export type RunLimits = { readonly timeLimitMs: number; readonly signal?: AbortSignal };

export type StartOptions = Omit<WorkerSettings, 'interrupt'> & {
  readonly startLimitMs: number;
  /** The worker's file; tests put a misbehaving one here. */
  readonly file?: URL;
};

/** How long an interrupted interpreter may take to answer before its thread is ended. */
const graceMs = 250;
/** How long an interpreter may take to get back to its first state, on a busy machine too. */
const restoreLimitMs = 10_000;

const ownExtension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const workerFile = new URL(`./python-worker.${ownExtension}`, import.meta.url);

function createThread(options: StartOptions, interrupt: SharedArrayBuffer): Worker {
  const readable = [
    dirname(dirname(fileURLToPath(import.meta.url))),
    dirname(fileURLToPath(import.meta.resolve('pyodide'))),
  ];
  const { memoryLimit, outputLimit, workspaceBytes, workspaceFiles } = options;
  const settings = { memoryLimit, outputLimit, workspaceBytes, workspaceFiles, interrupt };
  const thread = new Worker(options.file ?? workerFile, {
    workerData: settings satisfies WorkerSettings,
    env: {},
    execArgv: ['--permission', ...readable.map((path) => `--allow-fs-read=${join(path, '*')}`)],
    resourceLimits: { maxOldGenerationSizeMb: 256 },
    stdin: false,
    stdout: true,
    stderr: true,
  });
  // What the interpreter says to the console is not the agent's output.
  thread.stdout.resume();
  thread.stderr.resume();
  return thread;
}

/** Resolves with the thread's next message or its death. */
function nextMessage(
  thread: Worker,
): Promise<WorkerMessage | { readonly kind: 'died'; readonly reason: string }> {
  return new Promise((resolve) => {
    let reason: string | undefined;
    const onError = (error: Error) => {
      reason = error.message;
    };
    const onExit = (code: number) =>
      finish({ kind: 'died', reason: reason ?? `the sandbox's thread ended with code ${code}` });
    const finish = (message: Parameters<typeof resolve>[0]) => {
      thread.off('message', finish).off('error', onError).off('exit', onExit);
      resolve(message);
    };
    thread.on('message', finish).on('error', onError).on('exit', onExit);
  });
}

async function runInThread(
  thread: Worker,
  interrupt: Uint8Array,
  request: RunRequest & RunLimits,
): Promise<{
  readonly message: Awaited<ReturnType<typeof nextMessage>>;
  readonly timedOut: boolean;
}> {
  Atomics.store(interrupt, 0, 0);
  let timedOut = false;
  let grace: NodeJS.Timeout | undefined;
  const interruptRun = () => {
    timedOut = true;
    Atomics.store(interrupt, 0, 2);
    grace ??= setTimeout(() => void thread.terminate(), graceMs);
  };
  const timer = setTimeout(interruptRun, request.timeLimitMs);
  request.signal?.addEventListener('abort', interruptRun);
  thread.ref();
  const answer = nextMessage(thread);
  thread.postMessage({ source: request.source, files: request.files } satisfies RunRequest);
  const message = await answer;
  thread.unref();
  clearTimeout(timer);
  clearTimeout(grace);
  request.signal?.removeEventListener('abort', interruptRun);
  return { message, timedOut };
}

function createPythonWorker(thread: Worker, interrupt: Uint8Array): PythonWorker {
  let isUsable = true;
  let restored = Promise.resolve();
  const restore = async () => {
    const timer = setTimeout(() => void thread.terminate(), restoreLimitMs);
    const message = await nextMessage(thread);
    clearTimeout(timer);
    if (message.kind !== 'ready') isUsable = false;
  };
  thread.on('error', () => {
    isUsable = false;
  });
  thread.on('exit', () => {
    isUsable = false;
  });
  thread.unref();
  return {
    run: async (request, limits) => {
      const { message, timedOut } = await runInThread(thread, interrupt, { ...request, ...limits });
      if (message.kind === 'ready')
        return { kind: 'died', reason: 'the sandbox broke its protocol', timedOut };
      if (message.kind !== 'result' || message.isWorn) isUsable = false;
      else restored = restore();
      return { ...message, timedOut };
    },
    restored: () => restored,
    isUsable: () => isUsable,
    stop: async () => {
      isUsable = false;
      await thread.terminate();
    },
  };
}

/**
 * Starts an interpreter in a thread of its own (1 to 2 s).
 *
 * @throws BoundaryError("tool") when it is not ready within the start limit
 */
export async function startPythonWorker(options: StartOptions): Promise<PythonWorker> {
  const interrupt = new SharedArrayBuffer(1);
  const thread = createThread(options, interrupt);
  const timer = setTimeout(() => void thread.terminate(), options.startLimitMs);
  const message = await nextMessage(thread);
  clearTimeout(timer);
  if (message.kind === 'ready') return createPythonWorker(thread, new Uint8Array(interrupt));
  await thread.terminate();
  const reason = message.kind === 'result' ? 'it broke its protocol' : message.reason;
  throw new BoundaryError(
    'tool',
    `The Python sandbox did not start within ${options.startLimitMs} ms: ${reason}.`,
    { retryable: true },
  );
}
