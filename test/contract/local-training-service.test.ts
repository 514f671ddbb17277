import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { contractModel } from './contract-model.ts';
import { describeTrainingService } from './training-service.ts';
import { describeTrainingLosses } from './training-service-losses.ts';

const local = {
  create: () => createLocalTrainingService({ model: contractModel, seed: 7, microBatchTokens: 16 }),
  vocabSize: contractModel.vocabSize,
  maxPositions: contractModel.maxPositions,
};

describeTrainingService('the local service', local);
describeTrainingLosses('the local service', local);
