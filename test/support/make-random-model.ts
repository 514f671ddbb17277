import { mkdir } from 'node:fs/promises';
import type { ModelConfig } from '../../src/engine/model-config.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { buildTokenizerFiles, writeTokenizerFiles } from '../../src/tokenizer/build-tokenizer.ts';
import { tinyConfig } from './tiny-decoder.ts';

/**
 * A Hugging Face folder of a tiny model with random weights, a byte-level tokenizer and a ChatML template.
 *
 * @param changes of its shape, and words of its tokenizer
 */
export async function makeRandomModel(
  directory: string,
  { words = [], ...changes }: Partial<ModelConfig> & { readonly words?: readonly string[] } = {},
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const files = buildTokenizerFiles({ words });
  await writeTokenizerFiles(directory, files);
  const model = {
    ...tinyConfig,
    ...changes,
    vocabSize: files.vocabSize,
    eosTokenIds: [files.endOfTurn],
    maxPositions: 16_384,
  };
  const service = await createLocalTrainingService({ model, seed: 1 });
  try {
    await service.saveModel(directory);
  } finally {
    await service.close();
  }
}
