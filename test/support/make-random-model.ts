import { mkdir } from 'node:fs/promises';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { buildTokenizerFiles, writeTokenizerFiles } from '../../src/tokenizer/build-tokenizer.ts';
import { tinyConfig } from './tiny-decoder.ts';

/** A Hugging Face folder of a tiny model with random weights, a byte-level tokenizer and a ChatML template. */
export async function makeRandomModel(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const files = buildTokenizerFiles({ words: [] });
  await writeTokenizerFiles(directory, files);
  const model = {
    ...tinyConfig,
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
