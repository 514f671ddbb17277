import type { ExecutionStatus, Workspace, WorkspaceFile } from './sandbox.ts';

/** A request for a tool, found in an agent's text. `invalid` says why it could not be read. */
export type ToolCall = {
  readonly tool: string;
  readonly input: string;
  readonly invalid?: string;
};

/** How a tool call ended; `invalid`: the call could not be read, or does not fit the tool. */
export type ToolStatus = ExecutionStatus | 'invalid';

/** What a tool call returned; `output` is what the agent is shown. */
export type ToolResult = {
  readonly tool: string;
  readonly status: ToolStatus;
  readonly output: string;
  readonly durationMs: number;
  /** What the call changed in the play's workspace; absent when nothing. */
  readonly files?: {
    readonly written: readonly WrittenFile[];
    readonly removed: readonly string[];
  };
};

/** A file that a call wrote. */
export type WrittenFile = WorkspaceFile & {
  /** Of its content, in hexadecimal; absent where the tool does not tell. */
  readonly sha256?: string;
};

/** Where and for whom a tool is called. */
export type ToolCallOptions = {
  /** The action that the call belongs to. */
  readonly actionId: string;
  /** The files of the play; absent where there are none to share. */
  readonly workspace?: Workspace;
  readonly signal?: AbortSignal;
};

/** Something an agent may call; must never throw for the agent's mistakes. */
export type Tool<Name extends string = string> = {
  readonly name: Name;
  /** For the model, together with `parameters`; a tool without one is explained by the agent's instructions. */
  readonly description?: string;
  /** JSON schema of the arguments. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly run: (input: string, options: ToolCallOptions) => Promise<ToolResult>;
  /**
   * Whether its calls may be made again to get the files of a play back: whatever they do, they do it to those files.
   * Absent = they may do more, and are made once.
   */
  readonly isRepeatable?: boolean;
  /** Runs calls of one action that follow one another and share state; one result each, in order. */
  readonly runTogether?: (
    inputs: readonly string[],
    options: ToolCallOptions,
  ) => Promise<readonly ToolResult[]>;
  readonly close: () => Promise<void>;
};

/** Where tools come from that are only known once it has been asked, such as a server. */
export type ToolSource<Name extends string = string> = {
  readonly name: string;
  /** Names of the tools that it will give. */
  readonly provides: readonly Name[];
  /** @throws BoundaryError("config") when it cannot be reached or lacks one of them */
  readonly open: () => Promise<readonly Tool[]>;
  readonly close: () => Promise<void>;
};
