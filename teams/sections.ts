/** What the ready teams' agents are shown and hand on. */
import type { ActResult } from '../src/rollout/team.ts';
import { opensThought, splitThinking } from '../src/tools/split-thinking.ts';

/** A role's prompt followed by named sections; the sections' texts are put in as they are. */
export function withSections(prompt: string, sections: Readonly<Record<string, string>>): string {
  const parts = Object.entries(sections).map(([title, text]) => `## ${title}\n\n${text}`);
  return [prompt, ...parts].join('\n\n');
}

/** What the next agent reads where there is nothing to pass on. */
const noWords = '(No words: the reply was empty, or it was cut off inside its thoughts.)';

/**
 * What an agent tells the others: its words without its thoughts, an unclosed one included. Models whose chat template
 * opens the thought itself (Qwen3-Thinking, R1) never write `<think>`: there the observation ends with it.
 */
export function spoken({ text, actions }: ActResult): string {
  const isThinking = opensThought(actions.at(-1)?.observationText ?? '');
  const words = splitThinking(text, { isThinking }).said.trim();
  return words === '' ? noWords : words;
}
