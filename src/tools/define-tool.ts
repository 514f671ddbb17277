import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Tool, ToolResult, ToolStatus } from '../types/tool.ts';

/** A plain function as a tool: what the model is told, what it must pass, and what is done. */
export type FunctionTool<Schema extends z.ZodObject, Name extends string = string> = {
  readonly name: Name;
  /** For the model: what the tool does and when to call it. */
  readonly description: string;
  /** What a call must pass; a call that does not fit is answered with what is wrong. */
  readonly input: Schema;
  /**
   * A text is shown as it is, anything else as JSON. What it throws is shown to the agent as an error of its call,
   * unless it is a BoundaryError: that is a failure of ours, and ends the play.
   */
  readonly run: (input: z.output<Schema>, options: { readonly signal: AbortSignal }) => unknown;
  /** Of one call; default 30 000. */
  readonly timeoutMs?: number;
};

/** Resolves with what the call returns, or rejects when the signal aborts: a function need not know of signals. */
function orAbort<Result>(call: Promise<Result>, signal: AbortSignal): Promise<Result> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  return Promise.race([call, aborted]);
}

function readInput(text: string): { readonly value: unknown } | { readonly problem: string } {
  try {
    return { value: text.trim() === '' ? {} : JSON.parse(text) };
  } catch (error) {
    return { problem: `the arguments are not JSON: ${messageOf(error)}` };
  }
}

function shown(returned: unknown): string {
  return typeof returned === 'string' ? returned : (JSON.stringify(returned) ?? '');
}

async function callFunction<Schema extends z.ZodObject>(
  tool: FunctionTool<Schema>,
  input: string,
  signal: AbortSignal | undefined,
): Promise<readonly [ToolStatus, string]> {
  const read = readInput(input);
  if ('problem' in read) return ['invalid', read.problem];
  const parsed = tool.input.safeParse(read.value);
  if (!parsed.success) return ['invalid', z.prettifyError(parsed.error)];
  const timeoutMs = tool.timeoutMs ?? 30_000;
  const deadline = AbortSignal.timeout(timeoutMs);
  const either = AbortSignal.any([deadline, ...(signal === undefined ? [] : [signal])]);
  try {
    const call = Promise.resolve(parsed.data).then((data) => tool.run(data, { signal: either }));
    return ['ok', shown(await orAbort(call, either))];
  } catch (error) {
    signal?.throwIfAborted();
    if (deadline.aborted) return ['timeout', `Stopped: it ran longer than ${timeoutMs} ms.`];
    if (error instanceof BoundaryError) return ['infrastructure', error.message];
    return ['error', messageOf(error)];
  }
}

/**
 * Makes a tool of a function. Agents whose `tools` name it are told of it as their model's chat template does, or in their
 * instructions where the template knows no tools.
 */
export function defineTool<Schema extends z.ZodObject, const Name extends string>(
  tool: FunctionTool<Schema, Name>,
): Tool<Name> {
  return {
    name: tool.name,
    description: tool.description,
    parameters: z.toJSONSchema(tool.input, { io: 'input' }),
    run: async (input, { signal }): Promise<ToolResult> => {
      const begin = performance.now();
      const [status, output] = await callFunction(tool, input, signal);
      return { tool: tool.name, status, output, durationMs: performance.now() - begin };
    },
    close: async () => undefined,
  };
}
