// One side of a comparison is a process of its own, so that its memory is its own: it loads, says so on file descriptor 3,
// and then does one run for every line that it reads.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { benchFile } from './places.ts';

/** What a side says of a run. */
export type Run = {
  readonly seconds: number;
  /** Of all threads of the process, in user and kernel mode. */
  readonly cpuSeconds: number;
  /** Largest resident memory of the process so far, in MiB. */
  readonly peakMiB: number;
  readonly facts?: Readonly<Record<string, number>>;
};

export type Ready = {
  readonly tokens?: readonly (readonly number[])[];
  readonly facts?: Readonly<Record<string, number>>;
};

export type Side = {
  /** What the side says after it has loaded and warmed up. */
  readonly ready: Ready;
  readonly run: () => Promise<Run>;
  readonly close: () => void;
};

/** Program and arguments; what is to be done goes as one JSON argument after them. */
export type SideProgram = readonly [program: string, ...args: string[]];

/** The engine's side, in this process's Node. */
export function ownSide(name: string): SideProgram {
  return [
    process.execPath,
    '--expose-gc',
    '--disable-warning=ExperimentalWarning',
    benchFile('sides', `${name}.ts`),
  ];
}

/** The same work in the peers' Python, where there is one. */
export function peerSide(python: string | undefined, name: string): SideProgram | undefined {
  return python === undefined ? undefined : [python, benchFile('peers', `${name}.py`)];
}

const deadlineMs = 900_000;

/** Starts a side and waits until it is ready. */
export async function startSide([program, ...args]: SideProgram, work: unknown): Promise<Side> {
  const child = spawn(program, [...args, JSON.stringify(work)], {
    stdio: ['pipe', 2, 2, 'pipe'],
    // As the engine sets it for itself: on a shared machine, threads that spin while they wait starve one another.
    env: { OMP_WAIT_POLICY: 'PASSIVE', ...process.env },
  });
  const lines = createInterface({ input: child.stdio[3] as Readable });
  const replies = lines[Symbol.asyncIterator]();
  const reply = async <Reply>(): Promise<Reply> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
    const { done, value } = await replies.next();
    clearTimeout(timer);
    if (done === true)
      throw new Error(`${args.join(' ')} ended, or did not answer in ${deadlineMs / 1000} s`);
    return JSON.parse(value) as Reply;
  };
  child.on('error', () => child.stdio[3]?.destroy());
  const ready = await reply<Ready>();
  const run = () => {
    child.stdin?.write('run\n');
    return reply<Run>();
  };
  return { ready, run, close: () => child.stdin?.end() };
}
