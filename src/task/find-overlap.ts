import type { Task } from '../types/task.ts';

/** A held-out task whose prompt is also a training prompt. */
export type Overlap = { readonly trainId: string; readonly heldOutId: string };

/**
 * Held-out tasks that are also training tasks, by prompt text without case, white space and the punctuation of prose.
 *
 * Signs that change what is asked (`+ - * / ^ ( ) .` inside a number) are kept: `12 + 3` and `12 - 3` are two tasks.
 */
export function findOverlap(train: readonly Task[], heldOut: readonly Task[]): Overlap[] {
  const trainIds = new Map(train.map((task) => [normaliseText(task.prompt), task.id]));
  return heldOut.flatMap((task) => {
    const trainId = trainIds.get(normaliseText(task.prompt));
    return trainId === undefined ? [] : [{ trainId, heldOutId: task.id }];
  });
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
