import { join } from 'node:path';
import type { RunConfig } from './config/schema.ts';
import { parseModelConfig } from './engine/model-config.ts';
import { readJson } from './engine/model-folder.ts';
import { BoundaryError } from './errors.ts';
import type { DataLimits } from './service/local/check-data.ts';
import { createLocalTrainingService } from './service/local/local-training-service.ts';
import { refuseOtherSteps } from './service/tinker/adam-parameters.ts';
import { profiles, type ServerKind } from './service/tinker/profile.ts';
import { createTinkerTrainingService } from './service/tinker/tinker-training-service.ts';
import { withVllmSampling } from './service/vllm/vllm-sampling.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';
import type { TrainingService } from './types/training-service.ts';
import { adamOf } from './wire-settings.ts';

/** Keys of the service that a resumed run may change: a server may move. */
export const freeServiceKeys = ['service.url', 'sampler.url', 'sampler.directory'];

/**
 * The in-process engine over a model folder.
 *
 * @param tokenizer the model's own; without it stop strings are refused
 */
export function createLocalService(
  { model }: Pick<RunConfig, 'model'>,
  tokenizer?: Tokenizer,
  note?: (text: string) => void,
): Promise<TrainingService> {
  const { path, threads, agents: _, ...options } = model;
  return createLocalTrainingService({
    modelDirectory: path,
    ...options,
    ...(threads === undefined ? {} : { threads }),
    ...(tokenizer && { decode: tokenizer.decode }),
    ...(note && { note }),
  });
}

/**
 * Where the config has its policies sampled and trained.
 *
 * @throws BoundaryError before anything is played when a server is not there, or would do something else than is asked
 */
export async function createService(
  config: RunConfig,
  tokenizer: Tokenizer,
  note: (text: string) => void,
): Promise<TrainingService> {
  const { service, sampler } = config;
  if (service === 'local' && sampler === 'service') {
    return createLocalService(config, tokenizer, note);
  }
  refuseUnrecorded(config);
  const limits = await limitsOf(config);
  if (service === 'local' && sampler !== 'service') {
    const { url, baseModel, directory } = sampler;
    const apiKey = process.env.VLLM_API_KEY;
    const trainer = await createLocalService(config, tokenizer, note);
    try {
      return await withVllmSampling(trainer, {
        ...{ url, baseModel, directory, limits, note, decode: tokenizer.decode },
        ...(apiKey && { apiKey }),
        keptVersions: Math.max(2, config.rollout.maxStalenessSteps + 1),
      });
    } catch (error) {
      await trainer.close();
      throw error;
    }
  }
  if (service === 'local' || sampler !== 'service') {
    throw new BoundaryError(
      'config',
      'sampler is vllm(…) and service is tinker(…); a training server samples itself: leave out one of them',
    );
  }
  const { url, server, baseModel, adam } = service;
  refuseOtherSteps(adamOf(config.update), server, adam);
  refuseStaleness(config, server);
  const apiKey = process.env.TINKER_API_KEY;
  return createTinkerTrainingService({
    ...{ url, server, baseModel, limits, note, decode: tokenizer.decode },
    ...(adam && { adam }),
    ...(apiKey && { apiKey }),
  });
}

/** Where training replaces what was published, nothing could play while a step trains. */
function refuseStaleness({ rollout }: RunConfig, server: ServerKind): void {
  const { name, isSnapshot } = profiles[server];
  if (rollout.maxStalenessSteps === 0 || isSnapshot) return;
  throw new BoundaryError(
    'config',
    `rollout.maxStalenessSteps is ${rollout.maxStalenessSteps}, but ${name} replaces published weights while it trains, so nothing can be sampled meanwhile; set it to 0`,
  );
}

async function limitsOf({ model }: RunConfig): Promise<DataLimits> {
  const file = join(model.path, 'config.json');
  const { vocabSize, maxPositions } = parseModelConfig(await readJson(file), file);
  return { vocabSize, maxPositions };
}

/** Servers record no log-probabilities of a distribution that was scaled or filtered, which training would need. */
function refuseUnrecorded({ rollout, evaluation }: RunConfig): void {
  const { temperature, topK, topP, minP } = rollout;
  const refuse = (key: string, value: number, wanted: string): never => {
    throw new BoundaryError(
      'config',
      `${key} is ${value}, and a server records the log-probabilities of the unscaled, unfiltered distribution alone; ${wanted}`,
    );
  };
  if (temperature !== 1) refuse('rollout.temperature', temperature, 'set it to 1');
  for (const [name, value] of Object.entries({ topK, topP, minP })) {
    if (value !== undefined) refuse(`rollout.${name}`, value, 'leave it out');
  }
  if (evaluation.temperature === 0 || evaluation.temperature === 1) return;
  refuse('evaluation.temperature', evaluation.temperature, 'set it to 1, or to 0 for greedy');
}
