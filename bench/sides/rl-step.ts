/** The engine's side of bench:rl-step: sample, score under the reference, take one clipped policy-gradient step. */
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import type { Datum, Sequence } from '../../src/types/training-service.ts';
import { readWork, serveRuns } from './serve-runs.ts';

type Work = {
  readonly modelDirectory: string;
  readonly prompts: readonly (readonly number[])[];
  readonly samples: number;
  readonly maxTokens: number;
  readonly rank: number;
  readonly alpha: number;
  readonly klCoefficient: number;
  readonly learningRate: number;
  readonly threads: number;
};

type Completion = { readonly prompt: Int32Array; readonly sequence: Sequence };

const work = readWork<Work>();
const { modelDirectory, threads, rank, alpha } = work;
const service = await createLocalTrainingService({ modelDirectory, threads });
const policy = await service.createPolicy({ id: 'bench', seed: 1, rank, alpha });
const reference = await service.baseSampler();
let steps = 0;

async function rlStep(): Promise<Readonly<Record<string, number>>> {
  steps++;
  const groups = await sampleGroups();
  const data = await Promise.all(groups.flatMap(creditGroup));
  const pass = policy.forwardBackward(data, {
    kind: 'ppo',
    clipLow: 0.8,
    clipHigh: 1.2,
    kl: { coefficient: work.klCoefficient, estimator: 'k3' },
  });
  const { learningRate } = work;
  const adam = { learningRate, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 };
  const step = policy.optimStep({ ...adam, maxGradNorm: 1 });
  const [{ metrics }] = await Promise.all([pass.result, step.result]);
  const completions = groups.flat();
  const tokens = completions.reduce((sum, { sequence }) => sum + sequence.tokens.length, 0);
  return { meanLength: tokens / completions.length, loss: metrics.loss ?? Number.NaN };
}

async function sampleGroups(): Promise<readonly (readonly Completion[])[]> {
  const sampler = await policy.publish().result;
  return Promise.all(
    work.prompts.map((ids, group) => {
      const prompt = Int32Array.from(ids);
      return Promise.all(
        Array.from({ length: work.samples }, async (_, sample) => {
          const seed = (steps * work.prompts.length + group) * work.samples + sample;
          const { maxTokens } = work;
          const params = { maxTokens, temperature: 1, seed, stopTokens: [] };
          return { prompt, sequence: await sampler.sample(prompt, params) };
        }),
      );
    }),
  );
}

/** Each completion's reward against its group's mean and deviation, as in GRPO. */
function creditGroup(group: readonly Completion[]): Promise<Datum>[] {
  const rewards = group.map(({ sequence: { tokens } }) => shareOfOdd(tokens));
  const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
  const variance = rewards.reduce((sum, reward) => sum + (reward - mean) ** 2, 0) / rewards.length;
  return group.map((completion, index) =>
    datumOf(completion, ((rewards[index] ?? 0) - mean) / (Math.sqrt(variance) + 1e-4)),
  );
}

function shareOfOdd(tokens: Int32Array): number {
  return tokens.reduce((sum, token) => sum + (token % 2), 0) / tokens.length;
}

async function datumOf({ prompt, sequence }: Completion, advantage: number): Promise<Datum> {
  const whole = Int32Array.from([...prompt, ...sequence.tokens]);
  const logprobs = await reference.logprobs(whole);
  const start = prompt.length - 1;
  const tokens = work.prompts.length * work.samples * work.maxTokens;
  const onCompletion = (value: (token: number) => number) =>
    Float32Array.from({ length: whole.length - 1 }, (_, at) =>
      at < start ? 0 : value(at - start),
    );
  return {
    input: whole.slice(0, -1),
    target: whole.slice(1),
    weights: onCompletion(() => 1 / tokens),
    advantages: onCompletion(() => advantage),
    oldLogprobs: onCompletion((token) => sequence.logprobs[token] ?? Number.NaN),
    referenceLogprobs: onCompletion((token) => logprobs[token + prompt.length] ?? Number.NaN),
  };
}

await serveRuns({ facts: await rlStep() }, rlStep);
await service.close();
