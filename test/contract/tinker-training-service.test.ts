import { profiles } from '../../src/service/tinker/profile.ts';
import { startServed } from '../support/tinker-server/with-server.ts';
import { contractModel } from './contract-model.ts';
import { describeTrainingService } from './training-service.ts';

const { vocabSize, maxPositions } = contractModel;

for (const kind of ['skyrl-jax', 'skyrl-megatron', 'tinker', 'tuft'] as const) {
  const { isSnapshot, hasAdapterFiles } = profiles[kind];
  describeTrainingService(`the client of a ${kind} server`, {
    create: async () => {
      const { service, close } = await startServed(kind);
      return { ...service, close };
    },
    ...{ vocabSize, maxPositions, isSnapshot, hasAdapterFiles },
  });
}
