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

/**
 * The results of one action's calls, apart by a line of six dashes.
 *
 * @param options.limit characters of all outputs together; short ones leave their share to the others
 */
export function formatToolResults(
  results: readonly ToolResult[],
  options: { readonly limit?: number } = {},
): string {
  const limit = longestShown(
    results.map(({ output }) => output.trimEnd().length),
    options.limit ?? defaultLimit,
  );
  return results.map((result) => formatToolResult(result, { limit })).join('\n------\n');
}

/** The length to which outputs are cut so that all of them together have at most `room` characters. */
function longestShown(lengths: readonly number[], room: number): number {
  let left = room;
  const sorted = lengths.toSorted((a, b) => a - b);
  for (const [at, length] of sorted.entries()) {
    const share = Math.floor(left / (sorted.length - at));
    if (length > share) return share;
    left -= length;
  }
  return room;
}
