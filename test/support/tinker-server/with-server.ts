import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { profiles, type ServerKind } from '../../../src/service/tinker/profile.ts';
import {
  createTinkerTrainingService,
  type TinkerTrainingServiceOptions,
} from '../../../src/service/tinker/tinker-training-service.ts';
import type { TrainingService } from '../../../src/types/training-service.ts';
import { contractModel } from '../../contract/contract-model.ts';
import { hasty } from './hasty.ts';
import { startTinkerServer, type TinkerServer, type TinkerServerOptions } from './tinker-server.ts';

/** The small model that tests of the client train, in either place. */
export const testEngine = { model: contractModel, seed: 7, microBatchTokens: 16 };

/** A server over that model, with a client of it and a folder of its own. */
export type Served = {
  readonly service: TrainingService;
  readonly server: TinkerServer;
  /** Empty, for saved states. */
  readonly directory: string;
  /** Another client of the same server. */
  readonly connect: () => Promise<TrainingService>;
  readonly close: () => Promise<void>;
};

/** @param change of the client's options; by default servers step with the numbers that the contract's suite asks for */
export async function startServed(
  kind: ServerKind,
  options: Partial<TinkerServerOptions> = {},
  change: Partial<TinkerTrainingServiceOptions> = {},
): Promise<Served> {
  const root = await mkdtemp(join(tmpdir(), 'teamtune-server-'));
  const server = await startTinkerServer({
    ...{ kind, engine: testEngine, directory: join(root, 'server') },
    ...options,
  });
  const { vocabSize, maxPositions } = contractModel;
  const adam = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, maxGradNorm: false } as const;
  const connect = () =>
    createTinkerTrainingService({
      ...{ url: server.url, server: kind, baseModel: 'tiny', patience: hasty },
      limits: { vocabSize, maxPositions },
      ...(profiles[kind].adam.size === 0 && { adam }),
      ...change,
    });
  const closeServer = async () => {
    await server.close();
    await rm(root, { recursive: true, force: true });
  };
  try {
    const service = await connect();
    const close = async () => {
      await service.close();
      await closeServer();
    };
    return { service, server, directory: root, connect, close };
  } catch (error) {
    await closeServer();
    throw error;
  }
}
