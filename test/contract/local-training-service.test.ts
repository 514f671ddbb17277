import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { hasSteadyProducts } from '../support/expect-same-bits.ts';
import { contractModel } from './contract-model.ts';
import { describeTrainingService } from './training-service.ts';
import { describeTrainingLosses } from './training-service-losses.ts';

const { vocabSize, maxPositions } = contractModel;

function localWith(headDim: number) {
  const model = { ...contractModel, headDim };
  const create = () => createLocalTrainingService({ model, seed: 7, microBatchTokens: 16 });
  return { create, vocabSize, maxPositions, isBatchInvariant: hasSteadyProducts() };
}

describeTrainingService('the local service', localWith(contractModel.headDim));
describeTrainingLosses('the local service', localWith(contractModel.headDim));
// Heads that no kernel takes.
describeTrainingService('the local service on libtorch alone', localWith(4));
