import { vi } from 'vitest';
import { profiles } from '../../src/service/tinker/profile.ts';
import { startServed } from '../support/tinker-server/with-server.ts';
import { contractModel } from './contract-model.ts';
import { describedServer } from './running-server.ts';
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

const running = process.env.TEAMTUNE_TINKER_SERVER;
if (running !== undefined) {
  // Some compile for every length of a sequence that they have not seen.
  vi.setConfig({ testTimeout: 900_000, hookTimeout: 120_000 });
  describeTrainingService('the client of a running server', await describedServer(running));
}
