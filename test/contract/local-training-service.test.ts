import type { ModelConfig } from '../../src/engine/model-config.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { describeTrainingService } from './training-service.ts';
import { describeTrainingLosses } from './training-service-losses.ts';

const model: ModelConfig = {
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

const local = {
  create: () => createLocalTrainingService({ model, seed: 7, microBatchTokens: 16 }),
  vocabSize: model.vocabSize,
  maxPositions: model.maxPositions,
};

describeTrainingService('the local service', local);
describeTrainingLosses('the local service', local);
