import { z } from 'zod';
import { messageOf } from '../errors.ts';
import type { ToolCall } from '../types/tool.ts';
import { splitThinking } from './split-thinking.ts';

// Some models write the arguments as a JSON string; Llama's templates call them parameters.
const argumentsSchema = z.union([z.record(z.string(), z.unknown()), z.string()]);
const callSchema = z
  .object({
    // As providers allow them; a name is shown to others, and must not hold sentences.
    name: z.string().regex(/^[\w.-]{1,64}$/),
    arguments: argumentsSchema.optional(),
    parameters: argumentsSchema.optional(),
  })
  .transform(({ name, arguments: given, parameters }) => ({
    name,
    arguments: given ?? parameters ?? {},
  }));

function invalid(tool: string, input: string, reason: string): ToolCall {
  return { tool, input, invalid: reason };
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
    return invalid('tool_call', source, `the tool call could not be read: ${reason}`);
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

/** An agent that ended its turn inside a block meant the block to end there; one that was cut off has written half. */
function parseFences(text: string, isCut: boolean): ToolCall[] {
  const { programs, unclosed } = readFences(text);
  const isHalf = unclosed !== undefined && isCut;
  const whole = unclosed === undefined || isCut ? programs : [...programs, unclosed.trimEnd()];
  const written = whole.filter((program) => program.trim() !== '');
  const calls = written.map((program): ToolCall => ({ tool: 'python', input: program }));
  if (isHalf) {
    const reason = 'the ```python block was cut off by the length limit';
    return [...calls, invalid('python', unclosed, reason)];
  }
  if (whole.length > 0 && calls.length === 0)
    return [invalid('python', '', 'the ```python block is empty')];
  return calls;
}

/** Marks that a Llama writes around a call to one of its built-in tools. */
const llamaMarks = /^<\|python_tag\|>|<\|eo[mt]_id\|>$/g;

/** The forms of Llama's templates: a turn that is one JSON object, or that starts with `<|python_tag|>`. */
function parseLlamaCall(text: string): ToolCall | undefined {
  const trimmed = text.trim();
  const source = trimmed.replace(llamaMarks, '').trim();
  const isObject = source.startsWith('{') && source.endsWith('}');
  if (isObject && /^\{\s*"(?:type|name)"\s*:/.test(source)) return parseJsonCall(source);
  if (!trimmed.startsWith('<|python_tag|>')) return undefined;
  return source === ''
    ? invalid('python', '', 'nothing follows <|python_tag|>')
    : { tool: 'python', input: source };
}

/**
 * The tool calls in an agent's text; none means that the agent's round is done.
 *
 * `<tool_call>` blocks (Qwen) win over a turn that is one call (Llama), and that over fences. Each Python fence is a call.
 * What cannot be read becomes a call with `invalid` saying why, to be shown to the agent.
 *
 * @param options.isCut the length limit ended the text, so that a block left open is half a program
 * @param options.isThinking the template had opened `<think>` before the text
 * @see MAPPA's generic agent round; code inside thoughts is not executed
 */
export function parseToolCalls(
  text: string,
  options: { readonly isCut?: boolean; readonly isThinking?: boolean } = {},
): ToolCall[] {
  const { said: visible } = splitThinking(text, { isThinking: options.isThinking ?? false });
  if (visible.includes('<tool_call>') || visible.includes('</tool_call>'))
    return parseJsonCalls(visible);
  const llamaCall = parseLlamaCall(visible);
  return llamaCall === undefined ? parseFences(visible, options.isCut ?? false) : [llamaCall];
}
