import type { Adam, Datum, Policy } from '../types/training-service.ts';

export type SuperviseOptions = {
  readonly steps: number;
  /** Rows of one step; their weights say which tokens are learned and how much each counts. */
  readonly batchAt: (step: number) => readonly Datum[];
  readonly adam: Omit<Adam, 'learningRate'>;
  readonly learningRateAt: (step: number) => number;
  /** Called after each step with the weighted mean loss, nats per token. */
  readonly onStep: (step: number, loss: number) => void;
};

/** Supervised fine-tuning: the weighted mean of the tokens' cross-entropy, one optimiser step per batch. */
export async function supervise(policy: Policy, options: SuperviseOptions): Promise<void> {
  for (let step = 1; step <= options.steps; step++) {
    const data = averaged(options.batchAt(step));
    const pass = policy.forwardBackward(data, { kind: 'cross_entropy' });
    const learningRate = options.learningRateAt(step);
    const update = policy.optimStep({ ...options.adam, learningRate });
    const [{ metrics }] = await Promise.all([pass.result, update.result]);
    options.onStep(step, metrics.loss ?? Number.NaN);
  }
}

/** An engine sums over tokens; weights that sum to one make the sum a mean. */
function averaged(batch: readonly Datum[]): Datum[] {
  const weightsOf = ({ weights, target }: Datum) =>
    weights ?? new Float32Array(target.length).fill(1);
  const total = batch.reduce(
    (sum, datum) => sum + weightsOf(datum).reduce((part, weight) => part + weight, 0),
    0,
  );
  return batch.map((datum) => ({
    ...datum,
    weights: weightsOf(datum).map((weight) => weight / total),
  }));
}
