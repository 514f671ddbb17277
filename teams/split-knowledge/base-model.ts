import type { Random } from '../../src/random.ts';
import { pick, type WorkedExample } from '../demonstration-batches.ts';
import { plainBase } from '../plain-base.ts';
import {
  type BaseProgress,
  makeTinyBase,
  type TinyBase,
  type TinyRecipe,
  tinyBaseDirectory,
} from '../tiny-base.ts';
import {
  type AgentName,
  agents,
  answers,
  guessMessage,
  lastMessage,
  partOf,
  type Question,
  shareMessage,
  splitQuestions,
  viewOf,
} from './language.ts';

/** How often the base shares its part, and how often it uses a part that was shared with it. */
export type DebateHabits = { readonly shares: number; readonly uses: number };

export const defaultHabits: DebateHabits = { shares: 0.4, uses: 0.4 };

const rowsPerStep = 256;
const firstTurnShare = 0.4;

const recipe: TinyRecipe = {
  architecture: 'qwen3',
  hiddenSize: 96,
  intermediateSize: 256,
  layers: 2,
  heads: 6,
  maxPositions: 64,
  ropeTheta: 1000,
  initializerRange: 0.1,
  steps: 500,
  learningRate: 4e-3,
  warmupSteps: 50,
  seed: 0,
};

/** Which of several bases: others have other weights, another architecture or width. */
export type BaseChoice = Partial<Pick<TinyRecipe, 'architecture' | 'hiddenSize' | 'seed'>>;

function baseOf(choice: BaseChoice): TinyBase {
  return plainBase({
    name: 'split-knowledge-base',
    recipe: { ...recipe, ...choice },
    ingredients: { rowsPerStep, firstTurnShare, defaultHabits },
    rowsPerStep,
    examples: () => {
      const { train } = splitQuestions();
      return (random) => example(pick(train, random), random);
    },
  });
}

/** Where a base is kept inside `cache`. */
export function baseModelDirectory(cache: string, choice: BaseChoice = {}): string {
  return tinyBaseDirectory(cache, baseOf(choice));
}

/**
 * Makes a base that knows both tables and mixes the good habits with bad ones, from worked examples of training questions.
 * One that is already there is kept.
 *
 * @returns its folder
 */
export function makeBaseModel(
  cache: string,
  onProgress: BaseProgress,
  choice: BaseChoice = {},
): Promise<string> {
  return makeTinyBase(cache, baseOf(choice), onProgress);
}

function example(question: Question, random: Random): WorkedExample {
  const agent = pick<AgentName>(agents, random);
  const other: AgentName = agent === 'A' ? 'B' : 'A';
  const own = firstMessage(agent, question, random);
  const asked = `${viewOf(agent, question.join(''))}${agent}`;
  if (random.uniform() < firstTurnShare) return [`${asked}?`, own];
  const heard = firstMessage(other, question, random);
  const isUsed = heard.startsWith('S') && random.uniform() < defaultHabits.uses;
  const believed = isUsed ? partOf(other, question) : random.integer(answers);
  return [`${asked}${own}|${heard}!`, lastMessage(partOf(agent, question), believed)];
}

function firstMessage(agent: AgentName, question: Question, random: Random): string {
  return random.uniform() < defaultHabits.shares
    ? shareMessage(partOf(agent, question))
    : guessMessage;
}
