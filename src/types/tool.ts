/** A request for a tool, found in an agent's text. `invalid` says why it could not be read. */
export type ToolCall = {
  readonly tool: string;
  readonly input: string;
  readonly invalid?: string;
};

/**
 * How a tool call ended.
 * `ok`: ran to its end; `error`: the agent's code raised; `timeout`, `memory`, `output-limit`: stopped at a limit;
 * `denied`: asked for something the sandbox forbids (network, processes); `invalid`: the call could not be read;
 * `infrastructure`: our side failed, never the agent's fault.
 */
export type ToolStatus =
  | 'ok'
  | 'error'
  | 'timeout'
  | 'memory'
  | 'output-limit'
  | 'denied'
  | 'invalid'
  | 'infrastructure';

/** What a tool call returned; `output` is what the agent is shown. */
export type ToolResult = {
  readonly tool: string;
  readonly status: ToolStatus;
  readonly output: string;
  readonly durationMs: number;
};

/** Something an agent may call; must never throw for the agent's mistakes. */
export type Tool = {
  readonly name: string;
  readonly run: (input: string, options: { readonly signal?: AbortSignal }) => Promise<ToolResult>;
  readonly close: () => Promise<void>;
};
