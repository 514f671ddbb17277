import { z } from 'zod';
import { parseModelConfig } from '../../src/engine/model-config.ts';
import { readJson } from '../../src/engine/model-folder.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { profiles } from '../../src/service/tinker/profile.ts';
import { createTinkerTrainingService } from '../../src/service/tinker/tinker-training-service.ts';
import { withVllmSampling } from '../../src/service/vllm/vllm-sampling.ts';
import { contractModel } from './contract-model.ts';
import type { ServiceUnderTest } from './training-service.ts';

const description = z.strictObject({
  url: z.url(),
  server: z.enum(['skyrl-jax', 'skyrl-megatron', 'tinker', 'tuft']),
  baseModel: z.string(),
  /** Folder with the `config.json` of that model. */
  model: z.string(),
});

/** A server that somebody has started, as the variable `TEAMTUNE_TINKER_SERVER` describes it in JSON. */
export async function describedServer(text: string): Promise<ServiceUnderTest> {
  const { url, server, baseModel, model } = description.parse(JSON.parse(text));
  const file = `${model}/config.json`;
  const { vocabSize } = parseModelConfig(await readJson(file), file);
  // Shorter than most models take: what is refused for its length is refused before it is sent.
  const { maxPositions } = contractModel;
  const { isSnapshot, hasAdapterFiles } = profiles[server];
  const apiKey = process.env.TINKER_API_KEY;
  return {
    create: () =>
      createTinkerTrainingService({
        ...{ url, server, baseModel, limits: { vocabSize, maxPositions } },
        ...(apiKey && { apiKey }),
      }),
    ...{ vocabSize, maxPositions, isSnapshot, hasAdapterFiles, isBatchInvariant: false },
  };
}

const vllmDescription = z.strictObject({
  url: z.url(),
  baseModel: z.string(),
  /** Folder with the model, which the engine of this process trains in float32. */
  model: z.string(),
  /** Of adapters, which the server sees under the same path. */
  directory: z.string(),
});

/** A vLLM server that somebody has started, as the variable `TEAMTUNE_VLLM_SERVER` describes it in JSON. */
export async function describedVllm(text: string): Promise<ServiceUnderTest> {
  const { url, baseModel, model, directory } = vllmDescription.parse(JSON.parse(text));
  const file = `${model}/config.json`;
  const { vocabSize, maxPositions } = parseModelConfig(await readJson(file), file);
  return {
    create: async () =>
      withVllmSampling(await createLocalTrainingService({ modelDirectory: model, threads: 1 }), {
        ...{ url, baseModel, directory, limits: { vocabSize, maxPositions } },
      }),
    ...{ vocabSize, maxPositions, isBatchInvariant: false },
  };
}
