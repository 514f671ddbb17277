/**
 * The split-knowledge debate for three agents and three turns: of six operands 0–5 each agent is told two and knows what
 * they come to, and the answer is the sum of the three parts mod 5.
 *
 * In the first turn an agent shares its part (`Sb`) or guesses the answer (`I0`). In the later ones it writes its own part, the
 * part that it believes the first of the others to have, what both come to, the part of the second, and the answer: `bdee3`. The
 * second turn can only rest on what was shared; by the third every message of the second begins with its sender's part.
 */
import { fileURLToPath } from 'node:url';
import { discussionTeam } from '../../src/methods/discussion.ts';
import { createRandom, type Random, seedFor } from '../../src/random.ts';
import type { Task } from '../../src/types/task.ts';
import { pick, type WorkedExample } from '../../teams/demonstration-batches.ts';
import { plainBase } from '../../teams/plain-base.ts';
import {
  answers,
  guessMessage,
  hiddenTable,
  letterOf,
  operands,
  shareMessage,
} from '../../teams/split-knowledge/language.ts';
import { makeTinyBase, type TinyRecipe } from '../../teams/tiny-base.ts';

const agents = ['A', 'B', 'C'] as const;
type AgentName = (typeof agents)[number];

/** How often the base shares its part, and how often it uses a part that it could read in another's message. */
const habits = { shares: 0.5, uses: 0.6 };
/** Counts up with the form of the messages: bases that learned another are not these. */
const form = 3;
const [rowsPerStep, trainQuestions, heldOutQuestions] = [256, 4000, 260];
const tables: readonly (readonly number[])[] = agents.map(hiddenTable);

export const threePartsTeam = discussionTeam({
  name: 'three-parts',
  agents: {
    A: { role: 'Debater who knows the first third', maxTokens: 6 },
    B: { role: 'Debater who knows the second third', maxTokens: 6 },
    C: { role: 'Debater who knows the last third', maxTokens: 6 },
  },
  turns: 3,
  taskFor: ({ prompt }, agent) => viewOf(agents.indexOf(agent), prompt),
  format: fileURLToPath(new URL('../../teams/split-knowledge/discussion.md', import.meta.url)),
});

function viewOf(agent: number, question: string): string {
  return question.slice(2 * agent, 2 * agent + 2);
}

/** What each agent knows of a question, in the order of the agents. */
function partsOf(question: string): readonly number[] {
  return tables.map((table, agent) => {
    const [row, column] = viewOf(agent, question);
    return table[Number(row) * operands + Number(column)] as number;
  });
}

function sumOf(parts: readonly number[]): number {
  return parts.reduce((sum, part) => sum + part, 0) % answers;
}

/** Random questions, none of them twice; those held out come first. */
export function splitThreeParts(): {
  readonly train: readonly Task[];
  readonly heldOut: readonly Task[];
} {
  const random = createRandom(seedFor('three-parts', 'questions'));
  const questions = new Set<string>();
  while (questions.size < trainQuestions + heldOutQuestions) {
    const digits = Array.from({ length: 6 }, () => Math.floor(random.uniform() * operands));
    questions.add(digits.join(''));
  }
  const tasks = [...questions].map((prompt): Task => {
    return { id: prompt, prompt, answer: String(sumOf(partsOf(prompt))) };
  });
  return { train: tasks.slice(heldOutQuestions), heldOut: tasks.slice(0, heldOutQuestions) };
}

const recipe: TinyRecipe = {
  architecture: 'qwen3',
  hiddenSize: 96,
  intermediateSize: 256,
  layers: 2,
  heads: 6,
  maxPositions: 64,
  ropeTheta: 1000,
  initializerRange: 0.1,
  steps: 900,
  learningRate: 4e-3,
  warmupSteps: 50,
  seed: 0,
};

/** Makes the base that knows all three tables, from worked examples of training questions. @returns its folder */
export function makeThreePartsBase(
  cache: string,
  choice: Partial<Pick<TinyRecipe, 'architecture' | 'seed'>>,
): Promise<string> {
  const base = plainBase({
    name: 'three-parts-base',
    recipe: { ...recipe, ...choice },
    ingredients: { rowsPerStep, trainQuestions, habits, form },
    rowsPerStep,
    examples: () => {
      const { train } = splitThreeParts();
      return (random) => example(pick(train, random).prompt, random);
    },
  });
  return makeTinyBase(cache, base, () => undefined);
}

/** One agent's part of a play as the base plays it, each turn as often. */
function example(question: string, random: Random): WorkedExample {
  const speaker = Math.floor(random.uniform() * agents.length);
  const asked = `${viewOf(speaker, question)}${agents[speaker] as AgentName}`;
  const first = agents.map((_, agent) => firstMessage(question, agent, random));
  const turn = Math.floor(random.uniform() * 3);
  if (turn === 0) return [`${asked}?`, first[speaker] as string];
  const second = agents.map((_, agent) => laterMessage(question, agent, first, random));
  if (turn === 1) return [heard(asked, speaker, first), second[speaker] as string];
  return [heard(asked, speaker, second), laterMessage(question, speaker, second, random)];
}

/** What an agent reads in a later turn, as the discussion's format has it. */
function heard(asked: string, speaker: number, messages: readonly string[]): string {
  const others = messages.filter((_, agent) => agent !== speaker);
  return `${asked}${messages[speaker]}|${others.join('\n\n')}!`;
}

function firstMessage(question: string, agent: number, random: Random): string {
  return random.uniform() < habits.shares
    ? shareMessage(partsOf(question)[agent] as number)
    : guessMessage;
}

/**
 * An agent's own part, what it believes the others' to be, in their order, and the sum. What the first two come to stands
 * between: a model this small does not learn to add three in one go.
 */
function laterMessage(
  question: string,
  speaker: number,
  messages: readonly string[],
  random: Random,
): string {
  const parts = partsOf(question);
  const others = agents.flatMap((_, agent) => (agent === speaker ? [] : agent));
  const believed = others.map((agent) => {
    const isReadable = !messages[agent]?.startsWith('I');
    const isUsed = random.uniform() < habits.uses;
    return isReadable && isUsed ? (parts[agent] as number) : Math.floor(random.uniform() * answers);
  });
  const [first = 0, second = 0] = believed;
  const own = parts[speaker] as number;
  const between = sumOf([own, first]);
  return `${[own, first, between, second].map(letterOf).join('')}${sumOf([between, second])}`;
}
