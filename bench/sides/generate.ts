/** The engine's side of bench:generate: the base model sampled through the training service. */
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { readWork, serveRuns } from './serve-runs.ts';

type Work = {
  readonly modelDirectory: string;
  readonly prompts: readonly (readonly number[])[];
  readonly maxTokens: number;
  readonly threads: number;
};

const { modelDirectory, prompts, maxTokens, threads } = readWork<Work>();
const service = await createLocalTrainingService({ modelDirectory, threads });
const sampler = await service.baseSampler();

async function generate(temperature: number, seed: number): Promise<readonly Int32Array[]> {
  const sequences = await Promise.all(
    prompts.map((prompt, row) =>
      sampler.sample(Int32Array.from(prompt), {
        maxTokens,
        temperature,
        seed: seed * prompts.length + row,
        stopTokens: [],
      }),
    ),
  );
  return sequences.map(({ tokens }) => tokens);
}

const greedy = await generate(0, 0);
let runs = 0;
await serveRuns({ tokens: greedy.map((tokens) => [...tokens]) }, async () => {
  const rows = await generate(1, ++runs);
  return { tokens: rows.reduce((total, tokens) => total + tokens.length, 0) };
});
await service.close();
