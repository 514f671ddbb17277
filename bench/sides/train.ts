/** The engine's side of bench:train: one pass and one optimiser step of a LoRA policy of the training service. */
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { readWork, serveRuns } from './serve-runs.ts';

type Work = {
  readonly modelDirectory: string;
  readonly rows: readonly (readonly number[])[];
  readonly rank: number;
  readonly alpha: number;
  readonly threads: number;
  readonly microBatchTokens?: number;
  readonly gradientCheckpointing?: boolean;
  /** Fills rows up to this many tokens with targets of weight 0: what packing saves. */
  readonly padTo?: number;
  readonly adam: {
    readonly learningRate: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly eps: number;
    readonly weightDecay: number;
    readonly maxGradNorm: number;
  };
};

const { rows, rank, alpha, adam, padTo = 0, ...options } = readWork<Work>();
const service = await createLocalTrainingService(options);
const policy = await service.createPolicy({ id: 'bench', seed: 1, rank, alpha });
// The mean over all targets, as transformers' loss is.
const targets = rows.reduce((total, row) => total + row.length - 1, 0);
const data = rows.map((row) => {
  const length = Math.max(padTo, row.length) - 1;
  const filled = (values: readonly number[]) =>
    Int32Array.from({ length }, (_, at) => values[at] ?? 0);
  return {
    input: filled(row.slice(0, -1)),
    target: filled(row.slice(1)),
    weights: new Float32Array(length).fill(1 / targets, 0, row.length - 1),
  };
});

async function trainStep(): Promise<{ readonly loss: number; readonly gradNorm: number }> {
  const pass = policy.forwardBackward(data, { kind: 'cross_entropy' });
  const step = policy.optimStep(adam);
  const [{ metrics }, { gradNorm }] = await Promise.all([pass.result, step.result]);
  return { loss: metrics.loss ?? Number.NaN, gradNorm: gradNorm ?? Number.NaN };
}

await serveRuns({ facts: await trainStep() }, trainStep);
await service.close();
