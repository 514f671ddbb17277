/**
 * A question that nobody can answer alone: four operands 0–5, whose answer is M(a, b) + P(c, d) mod 5 for two hidden tables.
 * Agent A is told a and b and knows M, agent B is told c and d and knows P; what an agent knows of a question is its part, a
 * letter a–e. (One base plays both and so knows both tables: an agent that were told all four operands would learn to look
 * up the other's part.)
 *
 * In the first turn an agent shares its part (`Sb`, which is no answer) or guesses the answer alone: `I0`, right one time in
 * five. No answer is likelier than another, so a guess is always 0 and says nothing of its writer's part. In the second turn
 * an agent writes its own part, the part that it believes the other has, and the answer: `bd4`.
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

/** What an agent knows of each of its pairs of operands, row by row; every part is about as frequent as any other. */
export function hiddenTable(agent: string): readonly number[] {
  const random = createRandom(seedFor('split-knowledge', agent));
  return shuffled(
    Array.from({ length: operands ** 2 }, (_, index) => index % answers),
    random,
  );
}

const tables = { A: hiddenTable('A'), B: hiddenTable('B') };

function operandsOf<Operand>(agent: AgentName, all: readonly Operand[]): readonly Operand[] {
  return agent === 'A' ? all.slice(0, 2) : all.slice(2);
}

/** What an agent is told of a question. */
export function viewOf(agent: AgentName, prompt: string): string {
  return operandsOf(agent, [...prompt]).join('');
}

/** What an agent knows of a question, 0 to 4. */
export function partOf(agent: AgentName, question: Question): number {
  const [row = 0, column = 0] = operandsOf(agent, question);
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

export const guessMessage = 'I0';

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
