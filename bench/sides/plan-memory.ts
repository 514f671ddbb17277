/** A model and one training step with nothing else in the process: what they take beside what an empty engine has. */
import { describeEngine } from '../../src/engine/native.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import type { Adam, Datum, Loss } from '../../src/types/training-service.ts';
import { readWork, serveRuns } from './serve-runs.ts';

type Work = {
  readonly modelDirectory: string;
  readonly rows: readonly (readonly number[])[];
  /** First target of each row that counts. */
  readonly scoredFrom: number;
  readonly loss: 'importance_sampling' | 'cross_entropy' | 'dpo';
  readonly gradientCheckpointing: boolean;
};

const losses: Readonly<Record<Work['loss'], Loss>> = {
  importance_sampling: { kind: 'importance_sampling' },
  cross_entropy: { kind: 'cross_entropy' },
  dpo: { kind: 'dpo', beta: 0.1 },
};

const adam: Adam = { learningRate: 1e-5, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 };

// Loads libtorch, whose own size is no part of the model's.
describeEngine();
const emptyBytes = process.memoryUsage.rss();
const { rows, scoredFrom, loss, ...options } = readWork<Work>();
const engine = { ...options, threads: 1, microBatchTokens: 1_000_000 };
const service = await createLocalTrainingService(engine);
const policy = await service.createPolicy({ id: 'bench', seed: 1, rank: 8 });

function datumOf(row: readonly number[]): Datum {
  const length = row.length - 1;
  return {
    input: Int32Array.from(row.slice(0, -1)),
    target: Int32Array.from(row.slice(1)),
    weights: Float32Array.from({ length }, (_, at) => (at < scoredFrom ? 0 : 1)),
    advantages: new Float32Array(length).fill(1),
    oldLogprobs: new Float32Array(length).fill(-6),
    referenceLogprobs: new Float32Array(length).fill(-6),
  };
}

const data = rows.map(datumOf);
await serveRuns({}, async () => {
  await policy.forwardBackward(data, losses[loss]).result;
  await policy.optimStep(adam).result;
  const peak = process.resourceUsage().maxRSS * 1024;
  return { takenMiB: (peak - emptyBytes) / 2 ** 20 };
});
await service.close();
