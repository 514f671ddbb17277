import type { Random } from '../../src/random.ts';
import { demonstrationBatches, pick } from '../demonstration-batches.ts';
import { type BaseProgress, makeTinyBase, type TinyBase } from '../tiny-base.ts';
import {
  type AgentName,
  analystProgram,
  engineerMenu,
  forms,
  metricWords,
  modelerMenu,
  promptFor,
  recipeWords,
  wantedForm,
} from './language.ts';

/** How often the base chooses what from the menu; every agent has a bad habit that comes first. */
const habits = {
  engineer: { all: 0.35, withoutTest: 0.5, withoutTargets: 0.15 },
  modeler: { linear: 0.25, single: 0.2, mean: 0.45, misnamed: 0.1 },
  /** The form that the metric asks for, else any; and the right header. */
  analyst: { form: 0.5, header: 0.4 },
} as const;

const rowsPerStep = 96;

const base: TinyBase = {
  name: 'recipes-base',
  recipe: {
    architecture: 'qwen3',
    hiddenSize: 64,
    intermediateSize: 128,
    layers: 2,
    heads: 4,
    maxPositions: 256,
    ropeTheta: 1000,
    initializerRange: 0.1,
    steps: 200,
    learningRate: 6e-3,
    warmupSteps: 20,
    seed: 0,
  },
  tokenizer: { words: recipeWords() },
  ingredients: { habits, rowsPerStep },
  batches: (tokenizer) => {
    const agents = Object.keys(choices) as AgentName[];
    return demonstrationBatches(tokenizer, {
      rows: rowsPerStep,
      seedOf: (step) => ['recipes-base', step],
      draw: (random, row) => {
        const agent = agents[row % agents.length] as AgentName;
        const metric = pick(metricWords, random);
        return [promptFor(agent, { metric }), choices[agent](metric, random)];
      },
    });
  },
};

/**
 * Makes the base of the small data-science team from worked examples, bad habits included; under a minute. One that is
 * already there is kept.
 *
 * @returns its folder
 */
export function makeBaseModel(cache: string, onProgress: BaseProgress): Promise<string> {
  return makeTinyBase(cache, base, onProgress);
}

/** One name of a table of shares that add up to 1. */
function draw<Name extends string>(shares: Readonly<Record<Name, number>>, random: Random): Name {
  let left = random.uniform();
  const names = Object.keys(shares) as Name[];
  return (
    names.find((name) => {
      left -= shares[name];
      return left < 0;
    }) ?? (names[0] as Name)
  );
}

const choices: Readonly<Record<AgentName, (metric: string, random: Random) => string>> = {
  engineer: (_, random) => engineerMenu[draw(habits.engineer, random)],
  modeler: (_, random) => modelerMenu[draw(habits.modeler, random)],
  analyst: (metric, random) => {
    const isWanted = random.uniform() < habits.analyst.form;
    const form = isWanted ? wantedForm(metric) : pick(forms, random);
    return analystProgram(form, random.uniform() < habits.analyst.header);
  },
};
