// The models that both sides of a comparison run: random weights, since speed does not depend on what was learned.
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelConfig } from '../../src/engine/model-config.ts';
import { createRandom } from '../../src/random.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { root } from './places.ts';

const qwen3 = {
  architecture: 'qwen3',
  maxPositions: 4096,
  ropeTheta: 1_000_000,
  ropeScaling: { kind: 'none' },
  rmsNormEps: 1e-6,
  initializerRange: 0.02,
  tieWordEmbeddings: true,
  attentionBias: false,
  outputBias: false,
  qkNorm: true,
  dtype: 'float32',
  eosTokenIds: [],
} as const;

const shapes = {
  /** 4.9 M parameters. */
  small: {
    ...qwen3,
    vocabSize: 512,
    hiddenSize: 256,
    intermediateSize: 768,
    layers: 6,
    heads: 8,
    keyValueHeads: 4,
    headDim: 32,
  },
  /** 494 M parameters: the sizes of Qwen2.5-0.5B with Qwen3's layers. */
  '0.5B': {
    ...qwen3,
    vocabSize: 151_936,
    hiddenSize: 896,
    intermediateSize: 4864,
    layers: 24,
    heads: 14,
    keyValueHeads: 2,
    headDim: 64,
  },
} satisfies Record<string, ModelConfig>;

export type ShapeName = keyof typeof shapes;

/** A Hugging Face folder of a random model of this shape; made on the first call, kept in `.teamtune/bench`. */
export async function modelFolder(shape: ShapeName): Promise<string> {
  const directory = join(root, '.teamtune', 'bench', `qwen3-${shape}`);
  if (existsSync(directory)) return directory;
  process.stderr.write(`making a random model of shape ${shape} in ${directory}\n`);
  const aside = `${directory}.partial`;
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  const service = await createLocalTrainingService({ model: shapes[shape], seed: 1 });
  await service.saveModel(aside);
  await service.close();
  await rename(aside, directory);
  return directory;
}

export function shapeOf(shape: ShapeName): ModelConfig {
  return shapes[shape];
}

export function vocabSizeOf(shape: ShapeName): number {
  return shapes[shape].vocabSize;
}

/** Rows of random token ids, the same for the same arguments. */
export function randomTokens(rows: number, length: number, shape: ShapeName): number[][] {
  const random = createRandom(rows * 1009 + length);
  const vocabSize = vocabSizeOf(shape);
  return Array.from({ length: rows }, () =>
    Array.from({ length }, () => Math.floor(random.uniform() * vocabSize)),
  );
}
