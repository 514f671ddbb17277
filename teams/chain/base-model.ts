import { createRandom, type Random, seedFor } from '../../src/random.ts';
import type { WorkedExample } from '../demonstration-batches.ts';
import { plainBase } from '../plain-base.ts';
import {
  type BaseProgress,
  makeTinyBase,
  type TinyBase,
  type TinyRecipe,
  tinyBaseDirectory,
} from '../tiny-base.ts';
import {
  approval,
  type Chain,
  correction,
  critiquePrompt,
  draftPrompt,
  drawChain,
  isHeldOut,
  operators,
  refinePrompt,
  resultOf,
  runningResults,
  textOf,
} from './language.ts';

/** How the base behaves; each bad habit is the mode, so that neither greedy decoding nor a vote removes it. */
export const habits = {
  /** Share of the 300 facts that the generator alone has wrong, always in the same way. */
  misconceptions: 0.2,
  /** Chance that a step of the generator, or of the verifier, is a slip. */
  generatorSlip: 0.04,
  verifierSlip: 0.01,
  /** The verifier approves without looking. */
  approves: 0.6,
  /** The refiner takes the verifier's result where it is another. */
  takes: 0.6,
} as const;

const rowsPerStep = 128;
/** Share of demonstrations that show the generator, and the generator or the verifier. */
const shares = { generator: 0.3, verifier: 0.8 };

const recipe: TinyRecipe = {
  architecture: 'qwen3',
  hiddenSize: 128,
  intermediateSize: 384,
  layers: 2,
  heads: 4,
  maxPositions: 64,
  ropeTheta: 1000,
  initializerRange: 0.06,
  steps: 1500,
  learningRate: 3e-3,
  warmupSteps: 100,
  seed: 0,
};

/** Which of several bases: others have other weights, another architecture or width. */
export type ChainBase = Partial<
  Pick<TinyRecipe, 'architecture' | 'hiddenSize' | 'intermediateSize' | 'seed'>
>;

function baseOf(choice: ChainBase): TinyBase {
  const made = { ...recipe, ...choice };
  return plainBase({
    name: 'chain-base',
    recipe: made,
    ingredients: { habits, rowsPerStep, shares },
    rowsPerStep,
    examples: () => {
      const wrongFacts = misconceptions(made.seed);
      return (random) => demonstrate(wrongFacts, random);
    },
  });
}

/**
 * Makes a base that can do all three roles and mixes each with a bad habit, from worked examples of training questions.
 * One that is already there is kept.
 *
 * @returns its folder
 */
export function makeChainBase(
  cache: string,
  onProgress: BaseProgress,
  choice: ChainBase = {},
): Promise<string> {
  return makeTinyBase(cache, baseOf(choice), onProgress);
}

export function chainBaseDirectory(cache: string, choice: ChainBase = {}): string {
  return tinyBaseDirectory(cache, baseOf(choice));
}

/** Fact → the wrong result that the generator believes. */
function misconceptions(seed: number): ReadonlyMap<string, number> {
  const random = createRandom(seedFor('chain-misconceptions', seed));
  const wrong = new Map<string, number>();
  for (const operator of operators) {
    for (let fact = 0; fact < 100; fact++) {
      if (random.uniform() >= habits.misconceptions) continue;
      const [left, right] = [Math.floor(fact / 10), fact % 10];
      const result = (resultOf(operator, left, right) + 1 + random.integer(9)) % 10;
      wrong.set(`${left}${operator}${right}`, result);
    }
  }
  return wrong;
}

function demonstrate(wrongFacts: ReadonlyMap<string, number>, random: Random): WorkedExample {
  const chain = drawTraining(random);
  const question = textOf(chain);
  const believed: typeof resultOf = (operator, left, right) =>
    wrongFacts.get(`${left}${operator}${right}`) ?? resultOf(operator, left, right);
  const draft = runningResults(chain, slipping(believed, habits.generatorSlip, random)).join('');
  const role = random.uniform();
  if (role < shares.generator) return [draftPrompt(question), draft];
  const isApproved = random.uniform() < habits.approves;
  const checked = runningResults(chain, slipping(resultOf, habits.verifierSlip, random)).join('');
  const critique = isApproved ? approval : `${correction}${checked}`;
  if (role < shares.verifier) return [critiquePrompt(question, draft), critique];
  const takes = !isApproved && random.uniform() < habits.takes;
  const answer = (takes ? checked : draft).at(-1) as string;
  return [refinePrompt(question, draft, critique), answer];
}

function drawTraining(random: Random): Chain {
  const chain = drawChain(random);
  return isHeldOut(chain) ? drawTraining(random) : chain;
}

function slipping(rule: typeof resultOf, chance: number, random: Random): typeof resultOf {
  return (operator, left, right) => {
    const result = rule(operator, left, right);
    return random.uniform() < chance ? (result + 1 + random.integer(9)) % 10 : result;
  };
}
