/** An agent's words apart from its thoughts. */
export type SplitText = {
  /** What stands in `<think>`, without the tags; absent = none. */
  readonly thinking?: string;
  /** The rest as it was written. */
  readonly said: string;
  /** The thought was never closed, so nothing follows it. */
  readonly isUnfinished: boolean;
};

const mark = /<\/?think>/g;

/** Text that is code or a call, in which the tags are somebody's string: fences with their end, and `<tool_call>`. */
const quoted = /```[^`\n]*\n[\s\S]*?```[ \t]*$|<tool_call>[\s\S]*?<\/tool_call>/gm;

type Marked = { readonly at: number; readonly isEnd: boolean };

/** The next tag that is one, at or after a place. */
function nextMark(text: string, from: number): Marked | undefined {
  const code = [...text.slice(from).matchAll(quoted)].map(({ index, 0: { length } }) => {
    return { start: from + index, end: from + index + length };
  });
  for (const { 0: tag, index } of text.slice(from).matchAll(mark)) {
    const at = from + index;
    if (!code.some(({ start, end }) => at > start && at < end))
      return { at, isEnd: tag[1] === '/' };
  }
  return undefined;
}

/**
 * Parts a text into thoughts and words.
 *
 * A thought ends at the first `</think>` after its start, wherever that stands. Outside of thoughts a tag inside a fenced
 * block or a `<tool_call>` is code and no tag. A `</think>` without its start ends a thought that began with the text.
 *
 * @param options.isThinking the chat template had opened the thought before the text
 */
export function splitThinking(
  text: string,
  options: { readonly isThinking?: boolean } = {},
): SplitText {
  let parts: { readonly text: string; readonly isThought: boolean }[] = [];
  let isThought = options.isThinking ?? false;
  let from = 0;
  while (true) {
    const next = isThought ? endOfThought(text, from) : nextMark(text, from);
    if (next === undefined) break;
    const isStray = next.isEnd && !isThought;
    if (isStray) parts = parts.map((part) => ({ ...part, isThought: true }));
    parts.push({ text: text.slice(from, next.at), isThought: isThought || isStray });
    isThought = !next.isEnd;
    from = next.at + (next.isEnd ? '</think>' : '<think>').length;
  }
  parts.push({ text: text.slice(from), isThought });
  const thoughts = parts.filter((part) => part.isThought);
  const said = parts.filter((part) => !part.isThought);
  return {
    ...(thoughts.length === 0 ? {} : { thinking: thoughts.map(trimmed).join('\n') }),
    said: said.map((part) => part.text).join(''),
    isUnfinished: isThought,
  };
}

function trimmed({ text }: { readonly text: string }): string {
  return text.replace(mark, '').trim();
}

function endOfThought(text: string, from: number): Marked | undefined {
  const at = text.indexOf('</think>', from);
  return at < 0 ? undefined : { at, isEnd: true };
}

/** Whether the chat template opened a thought, so that what is sampled begins inside it. */
export function opensThought(observation: string): boolean {
  return /<think>\s*$/.test(observation);
}
