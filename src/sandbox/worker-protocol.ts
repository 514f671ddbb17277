import type { FileChanges } from '../types/sandbox.ts';

/** What the pool tells a new worker. */
export type WorkerSettings = {
  /** Upper bound of the interpreter's memory, bytes. */
  readonly memoryLimit: number;
  /** Upper bound of a run's output, characters. */
  readonly outputLimit: number;
  /** Upper bound of the files in a run's working folder, bytes. */
  readonly workspaceBytes: number;
  /** Upper bound of their number. */
  readonly workspaceFiles: number;
  /** One byte: 2 asks the interpreter to raise KeyboardInterrupt. */
  readonly interrupt: SharedArrayBuffer;
};

/** Pool to worker. */
export type RunRequest = {
  readonly source: string;
  /** What the run finds in its working folder, by relative path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
};

/** What a run left in its working folder, and what it took away; `tooMany` where nobody should look at all of it. */
export type FilesLeft = FileChanges | 'tooMany';

/** How an interpreter is after a run. */
export type WorkerCondition = {
  /** The run asked for more memory than allowed. */
  readonly isMemoryFull: boolean;
  /** Memory has grown so much that a new worker is cheaper than putting this one back to its first state. */
  readonly isWorn: boolean;
};

/**
 * Worker to pool. `ready`: in its first state, at the start and after each run. `result.text` starts with one letter: o = ok, e = error, d = denied, l = output limit, m = memory,
 * k = interrupted. `crashed`: the interpreter is broken and the worker must be replaced; `isInProgram`: the agent's program
 * broke it, by ending it for example.
 */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  | ({ readonly kind: 'result'; readonly text: string; readonly left: FilesLeft } & WorkerCondition)
  | ({
      readonly kind: 'crashed';
      readonly reason: string;
      readonly isInProgram: boolean;
    } & WorkerCondition);
