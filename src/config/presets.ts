import { malt } from './method-schema.ts';
import type { RunInput } from './schema.ts';

/**
 * The hyper-parameters of MAPPA's MathChat run, to be spread into `defineRun` before what is your own.
 *
 * Three values differ from the published run because the method here does: `learningRate` is ten times its 1e-6, which
 * was for full fine-tuning and is too small for adapters; `miniBatches` is 4 for every agent, where the published code
 * took one step per 16 actions; `rank` is ours. Every value and its source: docs/mathchat.md.
 *
 * @see Li, Ren, Yan 2026, arXiv:2601.23228, and the configuration of its MathChat experiment
 */
export const mappaMathchat = {
  seed: 42,
  adapter: { rank: 16, alpha: 32 },
  rollout: {
    tasksPerStep: 32,
    samplesPerTask: 2,
    temperature: 1,
    concurrency: 64,
    playTimeoutSeconds: 3600,
    toolTimeoutSeconds: 30,
  },
  coaching: { showAnswer: ['verifier'] as const },
  credit: { source: 'coach', estimator: 'reinforce-plus-plus', klCoefficient: 0.01, gamma: 1 },
  update: {
    learningRate: 1e-5,
    schedule: 'cosine',
    warmupSteps: 4,
    epochs: 1,
    miniBatches: 4,
    clipLow: 0.8,
    clipHigh: 1.2,
    average: 'action',
    beta1: 0.9,
    beta2: 0.95,
    weightDecay: 0,
    maxGradNorm: 1,
  },
  training: { steps: 128 },
  evaluation: { every: 4, samplesPerTask: 4, temperature: 0.6 },
} satisfies Partial<RunInput>;

/**
 * The hyper-parameters of MAPPA's DSBench run, to be spread into `defineRun` before what is your own; they differ from
 * the published ones where those of MathChat do, and for the same reasons. Values and sources: docs/dsbench.md.
 *
 * @see Li, Ren, Yan 2026, arXiv:2601.23228, and the configuration of its DSBench experiment
 */
export const mappaDsbench = {
  ...mappaMathchat,
  rollout: {
    ...mappaMathchat.rollout,
    tasksPerStep: 16,
    concurrency: 16,
    toolTimeoutSeconds: 60,
    sandbox: {
      kind: 'bubblewrap',
      python: '/usr/bin/python3',
      packages: ['pandas', 'sklearn'],
      memoryMiB: 4096,
      workspaceMiB: 1024,
    },
  },
  coaching: { rubric: 'dsbench' },
  training: { steps: 120 },
  evaluation: { every: 2, samplesPerTask: 2, temperature: 0.6 },
} satisfies Partial<RunInput>;

/**
 * The hyper-parameters of MALT as far as its paper gives them, to be spread into `defineRun` before what is your own:
 * three branches at every action, θ = ½, temperature 0.3, SFT in batches of 8, DPO with β = 0.2 and no anchor on all agents
 * but the generator. Learning rates and epochs are the defaults of `malt`: the paper names only multipliers of a service.
 * Evaluations take three samples, for the majority of three.
 *
 * @see Motwani et al. 2025, arXiv:2412.01928
 */
export const maltPaper = {
  method: malt({
    branching: 3,
    select: { threshold: 0.5 },
    sft: { batchSize: 8 },
    dpo: { beta: 0.2, anchor: 0 },
  }),
  rollout: { temperature: 0.3 },
  evaluation: { every: 1, samplesPerTask: 3, temperature: 0.3 },
} satisfies Partial<RunInput>;
