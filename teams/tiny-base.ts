import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ModelConfig } from '../src/engine/model-config.ts';
import { supervise } from '../src/methods/supervise.ts';
import { createLocalTrainingService } from '../src/service/local/local-training-service.ts';
import {
  type BuildTokenizerOptions,
  buildTokenizerFiles,
  writeTokenizerFiles,
} from '../src/tokenizer/build-tokenizer.ts';
import { loadTokenizer, type Tokenizer } from '../src/tokenizer/tokenizer.ts';
import type { Datum } from '../src/types/training-service.ts';
import { learningRateAt } from '../src/update/schedule.ts';

/** How a tiny model is made from nothing. */
export type TinyRecipe = {
  readonly architecture: 'qwen3' | 'llama';
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly maxPositions: number;
  readonly ropeTheta: number;
  /** With the usual 0.02 a model this small takes several times longer to learn to copy. */
  readonly initializerRange: number;
  /** Optimiser steps, one batch each. */
  readonly steps: number;
  /** At its peak, after `warmupSteps`; then a cosine down to a tenth. */
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly seed: number;
};

export type TinyBase = {
  /** First part of the folder's name. */
  readonly name: string;
  readonly recipe: TinyRecipe;
  readonly tokenizer: BuildTokenizerOptions;
  /** Whatever else the model is made of: a change of it, too, makes another folder. */
  readonly ingredients?: unknown;
  /** Rows of one step. */
  readonly batches: (tokenizer: Tokenizer) => (step: number) => readonly Datum[];
};

export type BaseProgress = (step: number, steps: number, loss: number) => void;

/** Where a model is kept inside `cache`: everything that it is made of is in the folder's name. */
export function tinyBaseDirectory(
  cache: string,
  { name, recipe, tokenizer, ingredients }: Omit<TinyBase, 'batches'>,
): string {
  const made = JSON.stringify([recipe, tokenizer, ingredients]);
  const fingerprint = createHash('sha256').update(made).digest('hex');
  return join(cache, `${name}-${fingerprint.slice(0, 12)}`);
}

/**
 * Makes a model from nothing by supervised fine-tuning, in the Hugging Face layout. One that is already there is kept.
 *
 * @returns its folder
 */
export async function makeTinyBase(
  cache: string,
  base: TinyBase,
  onProgress: BaseProgress,
): Promise<string> {
  const { recipe } = base;
  const directory = tinyBaseDirectory(cache, base);
  if (existsSync(directory)) return directory;
  await removeAbandoned(directory);
  const aside = asideOf(directory, process.pid);
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  const files = buildTokenizerFiles(base.tokenizer);
  await writeTokenizerFiles(aside, files);
  const tokenizer = await loadTokenizer(aside);
  const service = await createLocalTrainingService({
    model: modelConfig(recipe, files.vocabSize, files.endOfTurn),
    seed: recipe.seed,
    device: 'cpu',
    dtype: 'float32',
  });
  try {
    const policy = await service.createPolicy({ id: 'base', seed: recipe.seed, rank: 'full' });
    await supervise(policy, {
      steps: recipe.steps,
      batchAt: base.batches(tokenizer),
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

function asideOf(directory: string, writer: number | ''): string {
  return `${directory}.tmp-${writer}`;
}

/** Removes what processes that are no more left of this model when they were interrupted. */
async function removeAbandoned(directory: string): Promise<void> {
  const cache = dirname(directory);
  if (!existsSync(cache)) return;
  const prefix = basename(asideOf(directory, ''));
  const names = (await readdir(cache)).filter((name) => name.startsWith(prefix));
  const abandoned = names.filter((name) => !isAlive(Number(name.slice(prefix.length))));
  for (const name of abandoned) await rm(join(cache, name), { recursive: true, force: true });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // It is there, and another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function modelConfig(recipe: TinyRecipe, vocabSize: number, endOfTurn: number): ModelConfig {
  const { architecture, hiddenSize, intermediateSize, layers, heads } = recipe;
  return {
    ...{ architecture, vocabSize, hiddenSize, intermediateSize, layers, heads },
    keyValueHeads: heads,
    headDim: hiddenSize / heads,
    maxPositions: recipe.maxPositions,
    ropeTheta: recipe.ropeTheta,
    ropeScaling: { kind: 'none' },
    rmsNormEps: 1e-6,
    initializerRange: recipe.initializerRange,
    tieWordEmbeddings: true,
    attentionBias: false,
    outputBias: false,
    qkNorm: architecture === 'qwen3',
    dtype: 'float32',
    eosTokenIds: [endOfTurn],
  };
}
