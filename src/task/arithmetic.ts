import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { BoundaryError } from '../errors.ts';
import { createRandom, type Random, seedFor, shuffled } from '../random.ts';
import type { Task } from '../types/task.ts';

export type Operator = '+' | '-' | '*' | '%';
export type ArithmeticStep = { readonly operator: Operator; readonly operand: number };

/** A start number, one multiplication and one addition or subtraction in either order, and a remainder. */
export type ArithmeticProblem = {
  readonly start: number;
  readonly steps: readonly ArithmeticStep[];
};

export type ArithmeticSplit = 'train' | 'held-out';

/** How problems begin; `#` stands for the number. */
export const startPhrases: readonly string[] = [
  'Start with #.',
  'Begin with #.',
  'Take the number #.',
];

/** The ways to ask for each operation; `#` stands for the number. */
export const stepPhrases: Readonly<Record<Operator, readonly string[]>> = {
  '+': ['Add #.', 'Increase it by #.', 'Go up by #.', 'Put # more on top.'],
  '-': ['Subtract #.', 'Decrease it by #.', 'Go down by #.', 'Take away #.'],
  '*': ['Multiply by #.', 'Scale it by #.', 'Make # copies of it.', 'Join # of them.'],
  '%': ['Keep the remainder modulo #.', 'Divide by # and keep the rest.'],
};

/** Share of the space of problems that is held out, in percent. */
const heldOutPercent = 20;

/** Every intermediate result stays in 0..999, as answers of the AIME do. */
const largestResult = 999;

/**
 * One step in whole numbers, with Python's remainder (never negative for a positive modulus).
 *
 * @returns undefined for a remainder by zero
 */
export function applyOperator(left: number, operator: Operator, right: number): number | undefined {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '%':
      return right === 0 ? undefined : left - right * Math.floor(left / right);
  }
}

/** The result after each step; `undefined` from the step on that cannot be computed. */
function runningResults(problem: ArithmeticProblem): (number | undefined)[] {
  let current: number | undefined = problem.start;
  return problem.steps.map(({ operator, operand }) => {
    current = current === undefined ? undefined : applyOperator(current, operator, operand);
    return current;
  });
}

/** The answer; undefined when a step cannot be computed. */
export function solveArithmetic(problem: ArithmeticProblem): number | undefined {
  return runningResults(problem).at(-1) ?? (problem.steps.length === 0 ? problem.start : undefined);
}

/**
 * Which half of the space a problem belongs to: decided by a hash of its numbers and operators alone, so that no two
 * wordings of one problem can stand on both sides.
 */
export function splitOf({ start, steps }: ArithmeticProblem): ArithmeticSplit {
  const facts = [start, ...steps.flatMap(({ operator, operand }) => [operator, operand])].join(' ');
  const digest = createHash('sha256').update(facts).digest();
  return digest.readUInt32LE(0) % 100 < heldOutPercent ? 'held-out' : 'train';
}

function between(random: Random, lowest: number, highest: number): number {
  return lowest + random.integer(highest - lowest + 1);
}

function pick<Item>(items: readonly Item[], random: Random): Item {
  return items[random.integer(items.length)] as Item;
}

function drawProblem(random: Random): ArithmeticProblem {
  const sumOrDifference: Operator = pick(['+', '-'], random);
  const operators: Operator[] = [...shuffled<Operator>(['*', sumOrDifference], random), '%'];
  const steps = operators.map((operator) => ({
    operator,
    operand: operator === '*' ? between(random, 2, 9) : between(random, 11, 99),
  }));
  return { start: between(random, 10, 99), steps };
}

/** Numbers must differ from one another, so that every slip of an agent shows in what it writes. */
function isUsable(problem: ArithmeticProblem): boolean {
  const numbers = [problem.start, ...problem.steps.map(({ operand }) => operand)];
  const isInRange = (result: number | undefined) =>
    result !== undefined && result >= 0 && result <= largestResult;
  return new Set(numbers).size === numbers.length && runningResults(problem).every(isInRange);
}

function wordProblem(problem: ArithmeticProblem, random: Random): string {
  const fill = (phrase: string, number: number) => phrase.replace('#', String(number));
  return [
    fill(pick(startPhrases, random), problem.start),
    ...problem.steps.map(({ operator, operand }) =>
      fill(pick(stepPhrases[operator], random), operand),
    ),
  ].join(' ');
}

export type GenerateArithmeticOptions = {
  readonly count: number;
  readonly seed: number;
  readonly split: ArithmeticSplit;
};

/**
 * Distinct arithmetic problems in words with whole-number answers in 0..999; the same options give the same tasks.
 *
 * @throws BoundaryError("task") when `count` is not a whole number in 0..100,000
 */
export function generateArithmeticTasks(options: GenerateArithmeticOptions): Task[] {
  const { count, seed, split } = options;
  if (!Number.isInteger(count) || count < 0 || count > 100_000)
    throw new BoundaryError('task', `count must be a whole number in 0..100000, got ${count}.`);
  const random = createRandom(seedFor('arithmetic', split, seed));
  const tasks: Task[] = [];
  const seen = new Set<string>();
  while (tasks.length < count) {
    const problem = drawProblem(random);
    const facts = JSON.stringify(problem);
    if (seen.has(facts) || !isUsable(problem) || splitOf(problem) !== split) continue;
    seen.add(facts);
    tasks.push({
      id: `arithmetic-${split}-${seed}-${tasks.length + 1}`,
      prompt: wordProblem(problem, random),
      answer: String(solveArithmetic(problem)),
      tags: ['arithmetic', split],
    });
  }
  return tasks;
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

function numberIn(sentence: string, phrases: readonly string[]): number | undefined {
  for (const phrase of phrases) {
    const match = new RegExp(`^${escapeRegex(phrase).replace('#', '(\\d+)')}$`).exec(sentence);
    if (match) return Number(match[1]);
  }
  return undefined;
}

function stepIn(sentence: string): ArithmeticStep | undefined {
  for (const operator of ['+', '-', '*', '%'] as const) {
    const operand = numberIn(sentence, stepPhrases[operator]);
    if (operand !== undefined) return { operator, operand };
  }
  return undefined;
}

/** Reads a problem back from its words; undefined when the text is not one of these problems. */
export function parseArithmeticPrompt(prompt: string): ArithmeticProblem | undefined {
  const [first, ...rest] = prompt.trim().split(/(?<=\.)\s+/);
  const start = numberIn(first ?? '', startPhrases);
  const steps = rest.flatMap((sentence) => stepIn(sentence) ?? []);
  if (start === undefined || steps.length !== rest.length || steps.length === 0) return undefined;
  return { start, steps };
}

/** Writes tasks as a JSON array in the layout of the AIME files: `prompt`, `answer`, `id`, `tags`. */
export async function writeTaskFile(path: string, tasks: readonly Task[]): Promise<void> {
  const rows = tasks.map(({ prompt, answer, id, tags }) => ({ prompt, answer, id, tags }));
  await writeFile(path, `${JSON.stringify(rows, null, 2)}\n`);
}
