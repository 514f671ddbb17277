import type { ToolResult } from '../types/tool.ts';

/** Characters of output an agent is shown by default. */
const defaultLimit = 2000;

/** The text with its middle left out, saying how much, when it is longer than `limit` characters. */
function elide(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const head = text.slice(0, Math.ceil(limit / 2));
  const tail = text.slice(text.length - Math.floor(limit / 2));
  return `${head}\n[… ${text.length - limit} characters left out …]\n${tail}`;
}

/** What the agent is shown: the output, under a label when the call did not end well. */
export function formatToolResult(
  result: ToolResult,
  options: { readonly limit?: number } = {},
): string {
  const output = elide(result.output.trimEnd(), options.limit ?? defaultLimit);
  if (result.status === 'ok') return output === '' ? '[no output]' : output;
  return output === '' ? `[${result.status}]` : `[${result.status}]\n${output}`;
}

/** The results of one action's calls, apart by a line of six dashes. */
export function formatToolResults(
  results: readonly ToolResult[],
  options: { readonly limit?: number } = {},
): string {
  return results.map((result) => formatToolResult(result, options)).join('\n------\n');
}
