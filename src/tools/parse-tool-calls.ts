import { z } from 'zod';
import { messageOf } from '../errors.ts';
import type { ToolCall } from '../types/tool.ts';

const callSchema = z.object({
  name: z.string().min(1),
  // Some models write the arguments as a JSON string.
  arguments: z.union([z.record(z.string(), z.unknown()), z.string()]).default({}),
});

function invalid(tool: string, input: string, reason: string): ToolCall {
  return { tool, input, invalid: reason };
}

/**
 * The text that may be acted on: thoughts are not. An unclosed `<think>` hides the rest; a `</think>` without its start
 * (the template wrote the start) hides what stands before it.
 */
export function withoutThinking(text: string): string {
  const closed = text.replace(/<think>[\s\S]*?<\/think>/g, '');
  const afterStray = closed.split('</think>').at(-1) ?? '';
  return afterStray.split('<think>')[0] ?? '';
}

function parseArguments(argumentsOrText: Record<string, unknown> | string): string {
  const parsed: unknown =
    typeof argumentsOrText === 'string' ? JSON.parse(argumentsOrText) : argumentsOrText;
  const { code } = z.object({ code: z.string() }).parse(parsed);
  return code;
}

/** One `<tool_call>` block: `{"name": …, "arguments": {"code": …}}`; other tools get their arguments as JSON text. */
function parseJsonCall(block: string): ToolCall {
  const source = block.trim();
  if (source === '') return invalid('tool_call', source, 'the <tool_call> block is empty');
  try {
    const call = callSchema.parse(JSON.parse(source));
    if (call.name === 'python' || call.name === 'code_interpreter')
      return { tool: 'python', input: parseArguments(call.arguments) };
    const input =
      typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments);
    return { tool: call.name, input };
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    return invalid('tool_call', source, `the <tool_call> block could not be read: ${reason}`);
  }
}

function parseJsonCalls(text: string): ToolCall[] {
  const opened = text.split('<tool_call>').length - 1;
  const closed = text.split('</tool_call>').length - 1;
  const blocks = [...text.matchAll(/<tool_call>([\s\S]*?)<\/tool_call>/g)];
  const isNested = blocks.some(([, block]) => block?.includes('<tool_call>'));
  if (opened !== closed || blocks.length !== opened || isNested)
    return [
      invalid(
        'tool_call',
        text,
        `<tool_call> and </tool_call> do not match (${opened} opened, ${closed} closed)`,
      ),
    ];
  return blocks.map(([, block]) => parseJsonCall(block ?? ''));
}

type Fences = { readonly programs: readonly string[]; readonly unclosed: string | undefined };

/** The language of the fence that a line opens; undefined when it opens none. Small models open one mid-line, too. */
function openedLanguage(line: string): string | undefined {
  const start = /^\s*```\s*([\w+-]*)[^`]*$/.exec(line) ?? /```(python|py)\s*$/i.exec(line);
  return start?.[1]?.toLowerCase();
}

/** Reads Markdown fences line by line, so that a fence of another language cannot be taken for the end of a program. */
function readFences(text: string): Fences {
  const programs: string[] = [];
  let language: string | undefined;
  let lines: string[] = [];
  for (const line of text.split('\n')) {
    if (language === undefined) {
      language = openedLanguage(line);
      lines = [];
      continue;
    }
    lines.push(line.replace(/```\s*$/, ''));
    if (!/```\s*$/.test(line)) continue;
    if (isPython(language)) programs.push(lines.join('\n').trimEnd());
    language = undefined;
  }
  const unclosed = language !== undefined && isPython(language) ? lines.join('\n') : undefined;
  return { programs, unclosed };
}

function isPython(language: string): boolean {
  return language === 'python' || language === 'py' || language === 'python3';
}

function parseFences(text: string): ToolCall[] {
  const { programs, unclosed } = readFences(text);
  if (unclosed !== undefined)
    return [invalid('python', unclosed, 'the ```python block has no closing ``` (cut off?)')];
  const written = programs.filter((program) => program.trim() !== '');
  if (programs.length > 0 && written.length === 0)
    return [invalid('python', '', 'the ```python block is empty')];
  return written.length === 0 ? [] : [{ tool: 'python', input: written.join('\n') }];
}

/**
 * The tool calls in an agent's text; none means that the agent's round is done.
 *
 * `<tool_call>` blocks win over fences. All Python fences of one action are one program, run in order, so that they
 * share state. What cannot be read becomes a call with `invalid` saying why, to be shown to the agent.
 *
 * @see MAPPA's generic agent round; code inside thoughts is not executed
 */
export function parseToolCalls(text: string): ToolCall[] {
  const visible = withoutThinking(text);
  return visible.includes('<tool_call>') || visible.includes('</tool_call>')
    ? parseJsonCalls(visible)
    : parseFences(visible);
}
