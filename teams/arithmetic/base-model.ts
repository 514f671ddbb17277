import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelConfig } from '../../src/engine/model-config.ts';
import { supervise } from '../../src/methods/supervise.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { buildTokenizerFiles, writeTokenizerFiles } from '../../src/tokenizer/build-tokenizer.ts';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import type { Datum } from '../../src/types/training-service.ts';
import { learningRateAt } from '../../src/update/schedule.ts';
import {
  type Demonstration,
  defaultHabits,
  encodeDemonstration,
  generateDemonstrations,
} from './demonstrations.ts';
import { arithmeticWords } from './language.ts';

/** How the tiny base is made; every number is in the name of its folder, so a change makes a new one. */
const recipe = {
  hiddenSize: 96,
  intermediateSize: 256,
  layers: 2,
  heads: 4,
  ropeTheta: 1000,
  /** With the usual 0.02 a model this small takes several times longer to learn to copy. */
  initializerRange: 0.1,
  steps: 500,
  /** Small batches learn faster here than large ones at equal tokens. */
  playsPerStep: 10,
  /** Plays more of which only the verifier's part is shown, per step. */
  verifierPlaysPerStep: 10,
  learningRate: 6e-3,
  warmupSteps: 30,
  /** The verifier writes few tokens; without more weight its skill is learned last. */
  verifierWeight: 3,
  seed: 0,
  habits: defaultHabits,
} as const;

export type BaseProgress = (step: number, steps: number, loss: number) => void;

/** Where the base is kept inside `cache`. */
export function baseModelDirectory(cache: string): string {
  const fingerprint = createHash('sha256').update(JSON.stringify([recipe, arithmeticWords()]));
  return join(cache, `arithmetic-base-${fingerprint.digest('hex').slice(0, 12)}`);
}

/**
 * Makes the quickstart's base model from nothing, by supervised fine-tuning on generated worked examples, in the Hugging
 * Face layout; about a minute on two cores. One that is already there is kept.
 *
 * @returns its folder
 */
export async function makeBaseModel(cache: string, onProgress: BaseProgress): Promise<string> {
  const directory = baseModelDirectory(cache);
  if (existsSync(directory)) return directory;
  const aside = `${directory}.tmp-${process.pid}`;
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  const files = buildTokenizerFiles({ words: arithmeticWords() });
  await writeTokenizerFiles(aside, files);
  const tokenizer = await loadTokenizer(aside);
  const service = await createLocalTrainingService({
    model: modelConfig(files.vocabSize, files.endOfTurn),
    seed: recipe.seed,
    device: 'cpu',
    dtype: 'float32',
  });
  try {
    const policy = await service.createPolicy({ id: 'base', seed: recipe.seed, rank: 'full' });
    await supervise(policy, {
      steps: recipe.steps,
      batchAt: demonstrationBatches(tokenizer),
      adam: { beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 },
      learningRateAt: (step) => learningRateAt(recipe.learningRate, 'cosine', { ...recipe, step }),
      onStep: (step, loss) => onProgress(step, recipe.steps, loss),
    });
    await service.saveModel(aside);
  } finally {
    await service.close();
  }
  await rename(aside, directory);
  return directory;
}

function modelConfig(vocabSize: number, endOfTurn: number): ModelConfig {
  return {
    architecture: 'qwen3',
    vocabSize,
    hiddenSize: recipe.hiddenSize,
    intermediateSize: recipe.intermediateSize,
    layers: recipe.layers,
    heads: recipe.heads,
    keyValueHeads: recipe.heads,
    headDim: recipe.hiddenSize / recipe.heads,
    maxPositions: 1024,
    ropeTheta: recipe.ropeTheta,
    ropeScaling: { kind: 'none' },
    rmsNormEps: 1e-6,
    initializerRange: recipe.initializerRange,
    tieWordEmbeddings: true,
    attentionBias: false,
    outputBias: false,
    qkNorm: true,
    dtype: 'float32',
    eosTokenIds: [endOfTurn],
  };
}

/** Fresh demonstrations for every step. */
function demonstrationBatches(tokenizer: Tokenizer): (step: number) => Datum[] {
  const { steps, playsPerStep, verifierPlaysPerStep, seed, habits } = recipe;
  const perStep = playsPerStep + verifierPlaysPerStep;
  const plays = generateDemonstrations({ plays: steps * perStep, seed, habits });
  const encode = (demonstration: Demonstration) => {
    const weight = demonstration.agent === 'verifier' ? recipe.verifierWeight : 1;
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
