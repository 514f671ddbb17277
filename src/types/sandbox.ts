/**
 * How a program ended.
 * `ok`: ran to its end; `error`: the agent's code raised; `timeout`, `memory`, `output-limit`, `file-limit`: stopped at
 * a limit; `denied`: asked for something the sandbox forbids (network, processes, files elsewhere); `infrastructure`:
 * our side failed, never the agent's fault.
 */
export type ExecutionStatus =
  | 'ok'
  | 'error'
  | 'timeout'
  | 'memory'
  | 'output-limit'
  | 'file-limit'
  | 'denied'
  | 'infrastructure';

/** What a program changed in its working folder; paths are relative, with `/`, and never lead out of it. */
export type FileChanges = {
  readonly written: ReadonlyMap<string, Uint8Array>;
  readonly removed: readonly string[];
};

/** How a program ended. */
export type Execution = {
  readonly status: ExecutionStatus;
  /** What it printed, then what the sandbox has to say. */
  readonly output: string;
  readonly durationMs: number;
  /** Nothing where the program had to be ended together with its sandbox. */
  readonly changes: FileChanges;
};

export type ExecutionOptions = {
  /** Folder on this machine whose files the program finds in its working folder; the sandbox only reads it. */
  readonly folder?: string;
  readonly signal?: AbortSignal;
};

/**
 * A place where programs of agents run: they reach neither this machine nor the network, and know nothing of one
 * another but the files they are given. test/contract/sandbox.ts says what every implementation must do.
 */
export type Sandbox = {
  readonly name: string;
  /** Runs a small program. @throws BoundaryError("config") saying what is missing and how to get it */
  readonly check: () => Promise<void>;
  /** Rejects only when aborted or closed; everything that a program can do ends as an execution. */
  readonly run: (program: string, options?: ExecutionOptions) => Promise<Execution>;
  readonly close: () => Promise<void>;
};

/** A file of a workspace. */
export type WorkspaceFile = { readonly path: string; readonly bytes: number };

/** The files of one play as they are now: all its agents share them, and they are gone when the play is over. */
export type WorkspaceFiles = {
  /** In the order of their paths. */
  readonly list: () => Promise<readonly WorkspaceFile[]>;
  /** @throws BoundaryError("tool") when there is no such file */
  readonly read: (path: string) => Promise<Uint8Array>;
  /** Path → content of every file that matches one of the glob patterns, for example `*.pkl`. */
  readonly collect: (...patterns: readonly string[]) => Promise<ReadonlyMap<string, Uint8Array>>;
};

/** A workspace as the rollout keeps it. */
export type Workspace = WorkspaceFiles & {
  /**
   * Runs a program on the files and takes over what it changed, for the action of this id; one program at a time.
   *
   * @throws BoundaryError("tool") when what came back cannot be kept
   */
  readonly run: (
    sandbox: Sandbox,
    program: string,
    options: { readonly actionId: string; readonly signal?: AbortSignal },
  ) => Promise<Execution>;
  /**
   * Puts the files back to what they were after an action that an interrupted run, or another play, had finished.
   *
   * @param recorded.owner the play that has the files; absent = this one
   * @throws BoundaryError("run") when the action had changed files and they are gone
   */
  readonly restore: (
    actionId: string,
    recorded: { readonly hadChanges: boolean; readonly owner?: string },
  ) => Promise<void>;
};

/** The workspaces of all plays of a run. */
export type Workspaces = {
  /** @param files name → path of the task's own files, which are copied in */
  readonly open: (playId: string, files: Readonly<Record<string, string>>) => Promise<Workspace>;
  /** Forgets a play's files; a play without any is no mistake. */
  readonly remove: (playId: string) => Promise<void>;
  /** Removes what no play needs any more; files of plays that a stopped run had not ended stay for its resumption. */
  readonly close: () => Promise<void>;
};
