import type { PreferencePair } from '../../credit/select-role-data.ts';
import { BoundaryError } from '../../errors.ts';
import { createRandom, seedFor, shuffled } from '../../random.ts';
import type { Metrics } from '../../types/metrics.ts';
import type { Adam, Datum, PassResult, Policy } from '../../types/training-service.ts';
import type { Action } from '../../types/trajectory.ts';
import { datumOf } from '../../update/assemble-data.ts';
import { supervise } from '../supervise.ts';

/** How a role goes through its training set. */
export type Passes = {
  readonly learningRate: number;
  readonly epochs: number;
  /** Examples, or pairs, of one optimiser step. */
  readonly batchSize: number;
};

export type PreferenceOptions = Passes & {
  /** β: how much a log-ratio against the SFT policy counts. */
  readonly beta: number;
  /** Weight of the preferred answers' cross-entropy per token beside the preference loss; 0 = the paper's loss. */
  readonly anchor: number;
  /** Mean log-ratio of the preferred answers over an epoch, nats per answer, below which the run stops. */
  readonly collapseBelow: number;
};

type Lesson = {
  readonly seed: number;
  readonly adam: Omit<Adam, 'learningRate'>;
  readonly onStep: (done: number, of: number) => void;
};

/**
 * Supervised fine-tuning of one policy on its positive actions: cross-entropy of the sampled tokens, every token of a
 * batch alike.
 *
 * @returns `sft-loss` (nats per token, mean over the last epoch's steps) and `sft-steps`; nothing without examples
 */
export async function trainOnExamples(
  policy: Policy,
  examples: readonly Action[],
  { learningRate, epochs, batchSize, seed, adam, onStep }: Passes & Lesson,
): Promise<Metrics> {
  if (examples.length === 0) return {};
  const batches = batchesOf(examples, { epochs, batchSize, seed });
  const losses: number[] = [];
  await supervise(policy, {
    steps: batches.length,
    batchAt: (step) => (batches[step - 1] as readonly Action[]).map(exampleDatum),
    adam,
    learningRateAt: () => learningRate,
    onStep: (step, loss) => {
      losses.push(loss);
      onStep(step, batches.length);
    },
  });
  const last = losses.slice(-Math.ceil(examples.length / batchSize));
  return { 'sft-loss': meanOf(last), 'sft-steps': losses.length };
}

/**
 * Direct preference optimisation of one policy, from where it stands: as it is at the start it is the reference.
 *
 * @returns means over the last epoch: `dpo-loss` (without the anchor), `dpo-accuracy` (pairs whose margin is positive),
 *   `chosen-log-ratio` and `rejected-log-ratio` (nats per answer); and `dpo-steps`. Nothing without pairs
 * @throws BoundaryError("policy") when the preferred answers themselves become unlikely
 * @see Rafailov et al. 2023, arXiv:2305.18290, eq. 7; the anchor: Pang et al. 2024, arXiv:2404.19733, eq. 1
 */
export async function trainOnPairs(
  policy: Policy,
  pairs: readonly PreferencePair[],
  options: PreferenceOptions & Lesson,
): Promise<Metrics> {
  if (pairs.length === 0) return {};
  const { epochs, batchSize, seed, onStep } = options;
  const reference = await referenceOf(policy, pairs);
  const steps = Math.ceil(pairs.length / batchSize);
  let done = 0;
  let metrics: Metrics = {};
  for (let epoch = 0; epoch < epochs; epoch++) {
    const sums = new Map<string, number>();
    for (const batch of batchesOf(pairs, { epochs: 1, batchSize, seed: seedFor(seed, epoch) })) {
      const found = await preferenceStep(policy, batch, { ...options, reference });
      for (const [name, value] of Object.entries(found)) {
        sums.set(name, (sums.get(name) ?? 0) + value);
      }
      onStep(++done, steps * epochs);
    }
    const means = [...sums].map(([name, sum]) => [name, sum / pairs.length] as const);
    metrics = { ...Object.fromEntries(means), 'dpo-steps': done };
    refuseCollapse(policy, metrics, { epoch: epoch + 1, ...options });
  }
  return metrics;
}

/** An optimiser step on some pairs; sums over them. */
async function preferenceStep(
  policy: Policy,
  batch: readonly PreferencePair[],
  options: PreferenceOptions & Lesson & { readonly reference: ReadonlyMap<Action, Float32Array> },
): Promise<Readonly<Record<string, number>>> {
  const { beta, anchor, adam, learningRate, reference } = options;
  const datum = (action: Action): Datum => ({
    ...exampleDatum(action),
    referenceLogprobs: reference.get(action) as Float32Array,
  });
  const data = batch.flatMap(({ preferred, rejected }) => [datum(preferred), datum(rejected)]);
  const pairWeight = 1 / batch.length;
  const pass = policy.forwardBackward(data, { kind: 'dpo', beta, pairWeight, anchor });
  const update = policy.optimStep({ ...adam, learningRate });
  const [found] = await Promise.all([pass.result, update.result]);
  const { loss = Number.NaN, anchorLoss = 0, correctPairs = 0 } = found.metrics;
  const ratios = logRatios(data, found);
  return {
    'dpo-loss': (loss - anchorLoss) * batch.length,
    'dpo-accuracy': correctPairs,
    'chosen-log-ratio': sum(ratios.filter((_, row) => row % 2 === 0)),
    'rejected-log-ratio': sum(ratios.filter((_, row) => row % 2 === 1)),
  };
}

/** Of each answer: log-probability now less that under the reference, summed over its tokens. */
function logRatios(data: readonly Datum[], { logprobs }: PassResult): number[] {
  return data.map(({ weights, referenceLogprobs }, row) =>
    (logprobs[row] as Float32Array).reduce(
      (total, logprob, at) =>
        (weights?.[at] ?? 0) === 0 ? total : total + logprob - (referenceLogprobs?.[at] ?? 0),
      0,
    ),
  );
}

async function referenceOf(
  policy: Policy,
  pairs: readonly PreferencePair[],
): Promise<ReadonlyMap<Action, Float32Array>> {
  const actions = [...new Set(pairs.flatMap(({ preferred, rejected }) => [preferred, rejected]))];
  const { logprobs } = await policy.forward(actions.map(exampleDatum)).result;
  // Entries that are not computed are no numbers, and weigh nothing.
  const known = logprobs.map((row) => row.map((value) => (Number.isNaN(value) ? 0 : value)));
  return new Map(actions.map((action, row) => [action, known[row] as Float32Array]));
}

function refuseCollapse(
  { id }: Policy,
  metrics: Metrics,
  { epoch, collapseBelow }: { readonly epoch: number; readonly collapseBelow: number },
): void {
  const ratio = metrics['chosen-log-ratio'] ?? 0;
  if (ratio >= collapseBelow) return;
  throw new BoundaryError(
    'policy',
    `the preferred answers of ${id} became unlikely in epoch ${epoch} of its preference training (mean log-ratio ${ratio.toFixed(2)}, method.dpo.collapseBelow is ${collapseBelow}): go on with --resume and a smaller method.dpo.learningRate or a larger method.dpo.anchor; over long answers that is little, and a lower method.dpo.collapseBelow lets it pass`,
  );
}

function exampleDatum(action: Action): Datum {
  const { input, target, weights } = datumOf(action);
  return weights === undefined ? { input, target } : { input, target, weights };
}

/** Every epoch in an order of its own. */
function batchesOf<Item>(
  items: readonly Item[],
  { epochs, batchSize, seed }: Pick<Passes, 'epochs' | 'batchSize'> & { readonly seed: number },
): readonly (readonly Item[])[] {
  return Array.from({ length: epochs }, (_, epoch) => {
    const order = shuffled(items, createRandom(seedFor(seed, epoch)));
    return Array.from({ length: Math.ceil(order.length / batchSize) }, (__, batch) =>
      order.slice(batch * batchSize, (batch + 1) * batchSize),
    );
  }).flat();
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function meanOf(values: readonly number[]): number {
  return sum(values) / values.length;
}
