/**
 * A question that nobody can answer alone: four operands 0–5, whose answer is M(a, b) + P(c, d) mod 5 for two hidden tables.
 * Agent A knows M, agent B knows P; what an agent knows of a question is its part, a letter a–e.
 *
 * In the first turn an agent shares its part (`Sb`, which is no answer) or guesses the answer alone (`I3`, right one time in
 * five). In the second it writes its own part, the part that it believes the other has, and the answer: `bd4`.
 */
import { createRandom, seedFor, shuffled } from '../../src/random.ts';
import type { Task } from '../../src/types/task.ts';

export const agents = ['A', 'B'] as const;
export type AgentName = (typeof agents)[number];

/** Answers are 0 to 4. */
export const answers = 5;
/** Operands are 0 to 5. */
export const operands = 6;

export type Question = readonly [a: number, b: number, c: number, d: number];

/** What an agent knows of each of its pairs of operands, row by row. */
export function hiddenTable(agent: string): readonly number[] {
  const random = createRandom(seedFor('split-knowledge', agent));
  return Array.from({ length: operands ** 2 }, () => Math.floor(random.uniform() * answers));
}

const tables = { A: hiddenTable('A'), B: hiddenTable('B') };

/** What an agent knows of a question, 0 to 4. */
export function partOf(agent: AgentName, [a, b, c, d]: Question): number {
  const [row, column] = agent === 'A' ? [a, b] : [c, d];
  return tables[agent][row * operands + column] as number;
}

export function answerTo(question: Question): number {
  return (partOf('A', question) + partOf('B', question)) % answers;
}

/** A part as it is written. */
export function letterOf(part: number): string {
  return 'abcde'.charAt(part);
}

export function shareMessage(part: number): string {
  return `S${letterOf(part)}`;
}

export function guessMessage(answer: number): string {
  return `I${answer}`;
}

export function lastMessage(own: number, believed: number): string {
  return `${letterOf(own)}${letterOf(believed)}${(own + believed) % answers}`;
}

/** All questions in a fixed random order, every fifth held out. */
export function splitQuestions(): {
  readonly train: readonly Question[];
  readonly heldOut: readonly Question[];
} {
  const all = Array.from({ length: operands ** 4 }, (_, index): Question => {
    const digit = (place: number) => Math.floor(index / operands ** place) % operands;
    return [digit(3), digit(2), digit(1), digit(0)];
  });
  const order = shuffled(all, createRandom(seedFor('split-knowledge', 'questions')));
  const heldOut = order.filter((_, index) => index % 5 === 0);
  return { train: order.filter((_, index) => index % 5 !== 0), heldOut };
}

export function taskOf(question: Question): Task {
  const prompt = question.join('');
  return { id: prompt, prompt, answer: String(answerTo(question)) };
}
