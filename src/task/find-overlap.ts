import type { Task } from '../types/task.ts';

/** A held-out task whose prompt is also a training prompt. */
export type Overlap = { readonly trainId: string; readonly heldOutId: string };

/** Letters and digits at the beginning that two wordings of one long problem share. */
const sharedStart = 50;

/**
 * Held-out tasks that are also training tasks, by prompt text without case, white space and the punctuation of prose.
 *
 * Signs that change what is asked (`+ - * / ^ ( ) .` inside a number) are kept: `12 + 3` and `12 - 3` are two tasks.
 * Long problems also match where they begin with the same 50 letters and digits and hold the same numbers: collections
 * of one competition differ in markup, figures and closing words. Problems made from one template differ in a number.
 */
export function findOverlap(train: readonly Task[], heldOut: readonly Task[]): Overlap[] {
  const trainIds = new Map(
    train.flatMap((task) => keysOf(task.prompt).map((key) => [key, task.id])),
  );
  return heldOut.flatMap((task) => {
    const found = keysOf(task.prompt).find((key) => trainIds.has(key));
    const trainId = found === undefined ? undefined : trainIds.get(found);
    return trainId === undefined ? [] : [{ trainId, heldOutId: task.id }];
  });
}

/** What two prompts of the same task have in common; any one is enough. */
function keysOf(prompt: string): string[] {
  const start = startOf(prompt);
  return start === undefined ? [normaliseText(prompt)] : [normaliseText(prompt), start];
}

/** The beginning of a long problem and its numbers; undefined for a short one. */
function startOf(prompt: string): string | undefined {
  // Figures are drawn in some collections and left out in others.
  const text = prompt
    .replace(/\[asy\][\s\S]*?(?:\[\/asy\]|$)/gi, '')
    .replace(/(?<=\d)(?:\{,\}|,)(?=\d{3})/g, '');
  const letters = text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '');
  if (letters.length < sharedStart) return undefined;
  const numbers = text.match(/\d+/g) ?? [];
  return `${letters.slice(0, sharedStart)}|${numbers.join(' ')}`;
}

function normaliseText(text: string): string {
  return text
    .normalize('NFKC')
    .replaceAll('\u2212', '-')
    .toLowerCase()
    .replace(/\\(?:left|right|quad|qquad|[,;:! ])(?![a-z])/g, '')
    .replace(/(?<=\p{L}{2})-(?=\p{L}{2})/gu, '')
    .replace(/[.,](?!\d)/g, '')
    .replace(/(?<!\d)[.,]/g, '')
    .replace(/[\s$~?:;'"’“”`]+/g, '');
}
