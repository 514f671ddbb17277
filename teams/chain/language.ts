/**
 * Arithmetic from left to right, modulo 10, in as few characters as it takes: `3+4*5-6` with the three running results
 * `759`. Team and demonstrations share it.
 */
import { createHash } from 'node:crypto';
import { createRandom, type Random, seedFor } from '../../src/random.ts';
import type { Task } from '../../src/types/task.ts';

export const operators = ['+', '-', '*'] as const;
type Operator = (typeof operators)[number];

/** Four digits and the three operators between them. */
export type Chain = { readonly digits: readonly number[]; readonly operators: readonly Operator[] };

export const steps = 3;
/** Share of all combinations that nobody is trained on, in percent. */
const heldOutPercent = 20;

export function resultOf(operator: Operator, left: number, right: number): number {
  const results = { '+': left + right, '-': left - right + 10, '*': left * right };
  return results[operator] % 10;
}

/** The running results under some rule, each step going on from the one before. */
export function runningResults(chain: Chain, rule: typeof resultOf): readonly number[] {
  const results: number[] = [];
  for (const [step, operator] of chain.operators.entries()) {
    const left = results.at(-1) ?? (chain.digits[0] as number);
    results.push(rule(operator, left, chain.digits[step + 1] as number));
  }
  return results;
}

export function textOf(chain: Chain): string {
  const rest = chain.operators.map((operator, step) => `${operator}${chain.digits[step + 1]}`);
  return `${chain.digits[0]}${rest.join('')}`;
}

/** The last character, which is the answer of a draft as of a final word; nothing where there is none. */
export function answerIn(text: string): string {
  return text.trim().at(-1) ?? '';
}

export function draftPrompt(question: string): string {
  return `${question}G`;
}

/** @param draft of the generator */
export function critiquePrompt(question: string, draft: string): string {
  return `${draftPrompt(question)}${draft}V`;
}

/** @param critique of the verifier; empty where there is none */
export function refinePrompt(question: string, draft: string, critique: string): string {
  return `${critiquePrompt(question, draft)}${critique}R`;
}

/** What a verifier says who has nothing against a draft, and what its own running results start with. */
export const approval = 'K';
export const correction = 'C';

export function drawChain(random: Random): Chain {
  const draw = (count: number) => random.integer(count);
  return {
    digits: Array.from({ length: steps + 1 }, () => draw(10)),
    operators: Array.from({ length: steps }, () => operators[draw(3)] as Operator),
  };
}

/** Whether a combination is one of those held out: by a hash of it, so that training can never meet it. */
export function isHeldOut(chain: Chain): boolean {
  return createHash('sha256').update(textOf(chain)).digest().readUInt32LE(0) % 100 < heldOutPercent;
}

/** Distinct questions of one side of the split. */
export function chainTasks(options: {
  readonly count: number;
  readonly seed: number;
  readonly split: 'train' | 'held-out';
}): Task[] {
  const random = createRandom(seedFor('chain', options.split, options.seed));
  const tasks = new Map<string, Task>();
  while (tasks.size < options.count) {
    const chain = drawChain(random);
    if (isHeldOut(chain) !== (options.split === 'held-out')) continue;
    const prompt = textOf(chain);
    const answer = String(runningResults(chain, resultOf).at(-1));
    tasks.set(prompt, { id: prompt, prompt, answer });
  }
  return [...tasks.values()];
}
