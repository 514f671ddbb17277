import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import type { Datum } from '../../src/types/training-service.ts';
import { type BaseProgress, makeTinyBase, type TinyBase, tinyBaseDirectory } from '../tiny-base.ts';
import {
  type Demonstration,
  defaultHabits,
  encodeDemonstration,
  generateDemonstrations,
} from './demonstrations.ts';
import { arithmeticWords } from './language.ts';

const recipe = {
  architecture: 'qwen3',
  hiddenSize: 96,
  intermediateSize: 256,
  layers: 2,
  heads: 4,
  maxPositions: 1024,
  ropeTheta: 1000,
  initializerRange: 0.1,
  steps: 500,
  learningRate: 6e-3,
  warmupSteps: 30,
  seed: 0,
} as const;

const lessons = {
  /** Small batches learn faster here than large ones at equal tokens. */
  playsPerStep: 10,
  /** Plays more of which only the verifier's part is shown, per step. */
  verifierPlaysPerStep: 10,
  /** The verifier writes few tokens; without more weight its skill is learned last. */
  verifierWeight: 3,
  habits: defaultHabits,
} as const;

const base: TinyBase = {
  name: 'arithmetic-base',
  recipe,
  tokenizer: { words: arithmeticWords() },
  ingredients: lessons,
  batches: demonstrationBatches,
};

/** Where the base is kept inside `cache`. */
export function baseModelDirectory(cache: string): string {
  return tinyBaseDirectory(cache, base);
}

/**
 * Makes the quickstart's base model from generated worked examples; about a minute on two cores. One that is already
 * there is kept.
 *
 * @returns its folder
 */
export function makeBaseModel(cache: string, onProgress: BaseProgress): Promise<string> {
  return makeTinyBase(cache, base, onProgress);
}

/** Fresh demonstrations for every step. */
function demonstrationBatches(tokenizer: Tokenizer): (step: number) => Datum[] {
  const { playsPerStep, verifierPlaysPerStep, habits } = lessons;
  const { steps, seed } = recipe;
  const perStep = playsPerStep + verifierPlaysPerStep;
  const plays = generateDemonstrations({ plays: steps * perStep, seed, habits });
  const encode = (demonstration: Demonstration) => {
    const weight = demonstration.agent === 'verifier' ? lessons.verifierWeight : 1;
    return encodeDemonstration(tokenizer, demonstration, weight);
  };
  return (step) => {
    const first = (step - 1) * perStep;
    const whole = plays.slice(first, first + playsPerStep).flat();
    const more = plays.slice(first + playsPerStep, first + perStep).flat();
    const verifying = more.filter(({ agent }) => agent === 'verifier');
    return [...whole, ...verifying].map(encode);
  };
}
