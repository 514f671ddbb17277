import { BoundaryError } from '../errors.ts';
import { parseToolCalls } from '../tools/parse-tool-calls.ts';
import type { Tool, ToolCall, ToolCallOptions, ToolResult } from '../types/tool.ts';
import type { Action } from '../types/trajectory.ts';

/** What an agent said, and who may act on it. */
export type Said = {
  readonly agent: string;
  readonly text: string;
  readonly stop: Action['stop'];
  /** The chat template had opened `<think>` before the text. */
  readonly isThinking: boolean;
  /** Names of the tools that the agent may call. */
  readonly allowed: readonly string[];
};

/**
 * Runs the tool calls in what an agent said, in order.
 *
 * @throws BoundaryError("tool") when our side of a tool fails: an agent must not be judged for that
 */
export async function runTools(
  said: Said,
  tools: ReadonlyMap<string, Tool>,
  options: ToolCallOptions,
): Promise<Pick<Action, 'toolCalls' | 'toolResults'>> {
  if (said.allowed.length === 0) return { toolCalls: [], toolResults: [] };
  const toolCalls = parseToolCalls(said.text, {
    isCut: said.stop === 'length',
    isThinking: said.isThinking,
  });
  const toolResults: ToolResult[] = [];
  // One after another: a later call of the same action may rely on what an earlier one did.
  for (const calls of callsInTurn(toolCalls)) {
    const [first] = calls;
    const tool = said.allowed.includes(first.tool) ? tools.get(first.tool) : undefined;
    toolResults.push(...(await runCalls(calls, tool, { ...options, ...said })));
  }
  return { toolCalls, toolResults };
}

/** Calls to one tool that follow one another. */
export type Calls = readonly [ToolCall, ...ToolCall[]];

/**
 * Runs calls of one action to one tool.
 *
 * @param tool absent = there is none of that name
 * @throws BoundaryError("tool") when our side of it fails
 */
export async function runCalls(
  calls: Calls,
  tool: Tool | undefined,
  { agent, allowed, ...options }: ToolCallOptions & Pick<Said, 'agent' | 'allowed'>,
): Promise<readonly ToolResult[]> {
  const inputs = calls.map(({ input }) => input);
  const results =
    tool?.runTogether && calls.length > 1
      ? await tool.runTogether(inputs, options)
      : await runEach(calls, tool, { ...options, allowed });
  const failed = results.find(({ status }) => status === 'infrastructure');
  if (failed === undefined) return results;
  const message = `${failed.tool} could not run for ${agent}: ${failed.output}`;
  throw new BoundaryError('tool', message);
}

/** Calls in their order, those together that follow one another to the same tool and can be made. */
export function callsInTurn(calls: readonly ToolCall[]): readonly Calls[] {
  const turns: [ToolCall, ...ToolCall[]][] = [];
  for (const call of calls) {
    const before = turns.at(-1);
    const isMore = before?.[0].tool === call.tool;
    if (isMore && call.invalid === undefined && before[0].invalid === undefined) before.push(call);
    else turns.push([call]);
  }
  return turns;
}

async function runEach(
  calls: Calls,
  tool: Tool | undefined,
  options: ToolCallOptions & { readonly allowed: readonly string[] },
): Promise<readonly ToolResult[]> {
  const results: ToolResult[] = [];
  for (const call of calls) {
    const result = await runTool(call, tool, options);
    results.push(result);
    // It fails the play, whatever the others would give.
    if (result.status === 'infrastructure') break;
  }
  return results;
}

async function runTool(
  call: ToolCall,
  tool: Tool | undefined,
  { allowed, ...options }: ToolCallOptions & { readonly allowed: readonly string[] },
): Promise<ToolResult> {
  const refused = (output: string): ToolResult => ({
    tool: call.tool,
    status: 'invalid',
    output,
    durationMs: 0,
  });
  if (call.invalid !== undefined) return refused(call.invalid);
  if (tool === undefined)
    return refused(`there is no tool named ${call.tool}; available: ${allowed.join(', ')}`);
  return tool.run(call.input, options);
}
