/**
 * Real CPython with the user's packages, in the kernel's own isolation through `bwrap`.
 *
 * What keeps agents' code inside, from the inside out:
 * - Limits of processes, memory, CPU, file size, output and wall time; the runner (python-runner.ts) watches the memory
 *   of all processes together and ends everything that is left when the program ends.
 * - A seccomp filter (system-call-filter.ts): no network sockets, no namespaces, no view of other processes.
 * - Own namespaces: no other process, no network but a loopback that nobody listens on, no host name.
 * - A file system of its own: /usr and the interpreter's folders read-only, nothing of /home, /root or /etc but the
 *   linker's files; what it can write is in memory, of bounded size, and gone with it.
 * - No environment of ours, no capability, no new privileges; every pipe leads to the runner.
 *
 * Started by root, programs run as a user of their own that owns nothing, so that they cannot touch the runner either;
 * started by anybody else, in a user namespace, where killing the runner ends the program itself.
 *
 * Not covered: a flaw in the kernel, and memory that the kernel holds on a program's behalf (page tables, pipes): code
 * from people who mean harm belongs into a virtual machine of its own.
 */
import PQueue from 'p-queue';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Execution, ExecutionOptions, Sandbox } from '../types/sandbox.ts';
import { bubblewrapArguments, insideFolders } from './bubblewrap-arguments.ts';
import { stoppedOutput } from './describe-end.ts';
import { findInterpreter, type Interpreter } from './find-interpreter.ts';
import { checkLimits, defaultLimits, type SandboxLimits } from './limits.ts';
import { pythonRunner } from './python-runner.ts';
import { readFrame } from './read-frame.ts';
import { type Ended, runToEnd, type Start } from './run-to-end.ts';
import { systemCallFilter } from './system-call-filter.ts';

export type BubblewrapOptions = Partial<SandboxLimits> & {
  /** Interpreter or virtual environment whose packages programs may use; default `python3`. */
  readonly python?: string;
  /** Programs at once; default 1. */
  readonly workers?: number;
  /** Another program in the place of `bwrap`, for tests of our own failures. */
  readonly command?: string;
};

const noChanges = { written: new Map<string, Uint8Array>(), removed: [] } as const;

/** How long the sandbox may take beyond the program: to start, to copy files in and out. */
const graceMs = 20_000;

/** Says that the sandbox stands and the program begins: what fails before is our failure, what fails after is not. */
const startMark = 0x53;

const startRunner = `${pythonRunner}
sys.stdout.buffer.write(b'S')
sys.stdout.buffer.flush()
sys.stdout.buffer.write(run(json.load(sys.stdin)))
sys.stdout.buffer.flush()
`;

const environment = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: '/tmp',
  USER: 'agent',
  LANG: 'C.UTF-8',
  PYTHONPATH: insideFolders.workspace,
  PYTHONHASHSEED: '0',
  PYTHONDONTWRITEBYTECODE: '1',
  // One core a program: how many run at once is the run's setting, and each thread counts as a process.
  OMP_NUM_THREADS: '1',
  OPENBLAS_NUM_THREADS: '1',
  MKL_NUM_THREADS: '1',
} as const;

let lastUser = process.pid % 10_000;

/** A user id that no other program has: the kernel counts processes by it. */
function nextUser(): number {
  lastUser = (lastUser + 1) % 1_000_000;
  return 1_000_000 + lastUser;
}

/** What became of a program, as far as the frame does not tell it. */
function judge(ended: Ended, limits: SandboxLimits): Execution {
  const { output, complaint, isOverdue } = ended;
  const failed = (status: Execution['status'], text: string): Execution => {
    return { status, output: text, durationMs: 0, changes: noChanges };
  };
  if (output[0] !== startMark) {
    const reason = isOverdue ? 'it did not start in time' : complaint || 'it ended at once';
    return failed('infrastructure', `The bubblewrap sandbox failed: ${reason}.\n`);
  }
  if (isOverdue) return failed('timeout', stoppedOutput('timeout', '', limits));
  if (output.length === 1) {
    return complaint === ''
      ? failed('error', 'The program ended the process that it ran under.\n')
      : failed('infrastructure', `The bubblewrap sandbox failed: ${complaint}\n`);
  }
  return readFrame(output.subarray(1), limits);
}

const remedy =
  'install it (apt-get install bubblewrap, dnf install bubblewrap), or set rollout.sandbox to "pyodide"';

function refuseNamespaces({ complaint }: Ended): never {
  throw new BoundaryError(
    'config',
    `rollout.sandbox is bubblewrap, but it could not set up its namespaces here (${complaint || 'no word why'}): allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a container --security-opt seccomp=unconfined --security-opt systempaths=unconfined), or set rollout.sandbox to "pyodide"`,
  );
}

function refuseMissing(command: string, cause: unknown): never {
  throw new BoundaryError(
    'config',
    `rollout.sandbox is bubblewrap, but ${command} could not be started (${messageOf(cause)}): ${remedy}`,
    { cause },
  );
}

type Settings = {
  readonly python: string;
  readonly command: string;
  readonly limits: SandboxLimits;
  readonly isRoot: boolean;
  readonly filter: Uint8Array | undefined;
};

function requestFor(program: string, folder: string | undefined, settings: Settings): string {
  const { limits, isRoot } = settings;
  return JSON.stringify({
    ...limits,
    ...{ program, environment, isAlone: true, hidden: [] },
    timeLimitSeconds: limits.timeLimitMs / 1000,
    // A character takes up to four bytes.
    outputBytes: limits.outputLimit * 4,
    user: isRoot ? nextUser() : 0,
    workspace: insideFolders.workspace,
    input: folder === undefined ? '' : insideFolders.input,
    programFile: '/tmp/program.py',
  });
}

function startOf(
  program: string,
  given: ExecutionOptions,
  { executable, prefixes }: Interpreter,
  settings: Settings,
): Start {
  const { command, limits, isRoot, filter } = settings;
  const { folder, signal } = given;
  const place = { isRoot, prefixes, hasFilter: filter !== undefined };
  const wrapped = bubblewrapArguments(limits, folder === undefined ? place : { ...place, folder });
  return {
    command,
    arguments: [...wrapped, '--', executable, '-I', '-S', '-c', startRunner],
    request: requestFor(program, folder, settings),
    filter,
    deadlineMs: limits.timeLimitMs + graceMs,
    outputBytes: limits.workspaceBytes + limits.outputLimit * 24 + limits.workspaceFiles * 2048,
    signal,
  };
}

async function checkBubblewrap(start: Start, limits: SandboxLimits): Promise<void> {
  const ended = await runToEnd(start).catch((cause) => refuseMissing(start.command, cause));
  if (ended.output[0] !== startMark) refuseNamespaces(ended);
  const execution = judge(ended, limits);
  if (execution.status === 'ok' && execution.output === '42\n') return;
  throw new BoundaryError(
    'config',
    `rollout.sandbox is bubblewrap, but a program that prints 42 ended as ${execution.status}: ${execution.output.trim()}`,
  );
}

/**
 * A sandbox of bubblewrap; each program gets processes and files of its own (about 0.1 s to start).
 *
 * @throws BoundaryError("config") when a limit is not a positive integer
 */
export function createBubblewrapSandbox(options: BubblewrapOptions = {}): Sandbox {
  const { python = 'python3', workers = 1, command = 'bwrap', ...changed } = options;
  const limits = checkLimits({ ...defaultLimits, ...changed });
  const isRoot = process.getuid?.() === 0;
  const settings = { python, command, limits, isRoot, filter: systemCallFilter(process.arch) };
  const queue = new PQueue({ concurrency: workers });
  const closed = new AbortController();
  let interpreter: Promise<Interpreter> | undefined;
  const findOnce = () => {
    interpreter ??= findInterpreter(python);
    return interpreter;
  };

  const execute = async (program: string, given: ExecutionOptions): Promise<Execution> => {
    const refuseEnded = () => {
      given.signal?.throwIfAborted();
      if (closed.signal.aborted) throw new BoundaryError('tool', 'The sandbox has been closed.');
    };
    refuseEnded();
    const signal = AbortSignal.any([closed.signal, ...(given.signal ? [given.signal] : [])]);
    try {
      const start = startOf(program, { ...given, signal }, await findOnce(), settings);
      const ended = await runToEnd(start);
      refuseEnded();
      return judge(ended, limits);
    } catch (cause) {
      refuseEnded();
      const text = `The bubblewrap sandbox failed: ${messageOf(cause)}\n`;
      return { status: 'infrastructure', output: text, durationMs: 0, changes: noChanges };
    }
  };

  return {
    name: 'bubblewrap',
    check: async () =>
      checkBubblewrap(startOf('print(40 + 2)', {}, await findOnce(), settings), limits),
    run: (program, given = {}) => queue.add(() => execute(program, given)),
    close: async () => closed.abort(),
  };
}
