/** An agent's words apart from its thoughts. */
export type SplitText = {
  /** What stands in `<think>`, without the tags; absent = none. */
  readonly thinking?: string;
  readonly said: string;
  /** The thought was never closed, so nothing was said. */
  readonly isUnfinished: boolean;
};

/**
 * Parts an action's text into thoughts and words. A thought may be opened by the chat template, in which case the text
 * starts inside it: `observation` ends with the tag, or a `</think>` stands without its start.
 */
export function splitThinking(text: string, observation: string): SplitText {
  const isOpened = /<think>\s*$/.test(observation) || isClosedFirst(text);
  const whole = isOpened ? `<think>${text}` : text;
  const thoughts = [...whole.matchAll(/<think>([\s\S]*?)(?:<\/think>|$)/g)];
  if (thoughts.length === 0) return { said: text, isUnfinished: false };
  const thinking = thoughts.map(([, thought]) => (thought ?? '').trim()).join('\n');
  const said = whole.replace(/<think>[\s\S]*?(?:<\/think>|$)/g, '').trim();
  return { thinking, said, isUnfinished: !(thoughts.at(-1)?.[0] ?? '').endsWith('</think>') };
}

function isClosedFirst(text: string): boolean {
  const closed = text.indexOf('</think>');
  const opened = text.indexOf('<think>');
  return closed >= 0 && (opened < 0 || closed < opened);
}
