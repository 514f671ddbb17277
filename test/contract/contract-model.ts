import type { ModelConfig } from '../../src/engine/model-config.ts';

/** A model small enough for every test of the contract to make its own. */
export const contractModel: ModelConfig = {
  architecture: 'qwen3',
  vocabSize: 64,
  hiddenSize: 32,
  intermediateSize: 48,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDim: 8,
  maxPositions: 128,
  ropeTheta: 10_000,
  ropeScaling: { kind: 'none' },
  rmsNormEps: 1e-6,
  initializerRange: 0.02,
  tieWordEmbeddings: true,
  attentionBias: false,
  outputBias: false,
  qkNorm: true,
  dtype: 'float32',
  eosTokenIds: [],
};
