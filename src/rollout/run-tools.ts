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
  for (const call of toolCalls) {
    const tool = said.allowed.includes(call.tool) ? tools.get(call.tool) : undefined;
    const result = await runTool(call, tool, { ...options, allowed: said.allowed });
    if (result.status === 'infrastructure') {
      const message = `${result.tool} could not run for ${said.agent}: ${result.output}`;
      throw new BoundaryError('tool', message);
    }
    toolResults.push(result);
  }
  return { toolCalls, toolResults };
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
