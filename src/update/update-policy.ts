import { BoundaryError } from '../errors.ts';
import { createRandom, shuffled } from '../random.ts';
import type { CreditedAction } from '../types/credit.ts';
import type { Metrics } from '../types/metrics.ts';
import type { Adam, Loss, PassResult, Policy } from '../types/training-service.ts';
import {
  actionPart,
  assembleCriticData,
  assembleData,
  behaviourLogRatios,
  datumOf,
  type LossAverage,
} from './assemble-data.ts';

/** How one agent's policy is updated on one step's actions. */
export type UpdateOptions = {
  readonly loss: Loss;
  readonly average: LossAverage;
  /** Most that a token counts for being rarer under the sampled distribution than under the policy. */
  readonly behaviourRatioLimit: number;
  /** Passes over the step's actions. */
  readonly epochs: number;
  /** Optimiser steps in each pass; the actions are dealt out to them as evenly as they go. */
  readonly miniBatches: number;
  readonly adam: Adam;
  /** Order of the actions. */
  readonly seed: number;
  /** Largest difference, in nats, accepted between what the sampler recorded and what the trainer computes. */
  readonly logprobGapLimit: number;
  /** Whether the policy may have moved since it was sampled, which is then corrected; absent = it has not. */
  readonly isStale?: boolean;
  /** How a value head learns beside the policy, from the actions whose values are known; absent = not at all. */
  readonly critic?: {
    /** Weight of the critic's loss beside the policy's. */
    readonly coefficient: number;
    /** How far a prediction may move in a step before it counts for no more; absent = as far as it likes. */
    readonly clip?: number;
  };
};

/**
 * Updates one policy: epochs × mini-batches of the loss, one optimiser step each.
 * An agent without any credited action is left as it is, optimiser included.
 *
 * Before the first optimiser step the policy is still the one that was sampled: with exact engines the importance ratio
 * of every token is one, and the pass that is made anyway shows whether it is. Where it has moved since, a forward pass
 * says by how much: tokens are weighted with the truncated ratio, and the loss measures from the policy as it is now.
 *
 * @returns `loss`, `clip-fraction`, where the engine says them `grad-norm` and `entropy`, with a divergence term
 *   `reference-kl`, with a critic `value-loss` (half its mean squared error, before its coefficient; all means over
 *   optimiser steps), `optimizer-steps` and `logprob-gap`: the largest |log-prob(sampler) − log-prob(trainer)| over the tokens of
 *   the first pass, in nats. With `isStale` `truncated-ratios`, the share of tokens whose ratio is held at the limit, and
 *   `behaviour-kl`, the mean of log-prob(sampler) − log-prob(policy now), in nats; the gap is absent where it moved
 * @throws BoundaryError("engine") when that gap is above the limit, before anything has moved, or a gradient is not finite
 */
export async function updatePolicy(
  policy: Policy,
  credited: readonly CreditedAction[],
  options: UpdateOptions,
): Promise<Metrics> {
  const passes: Passed[] = [];
  const random = createRandom(options.seed);
  let gap: number | undefined;
  const current = options.isStale ? await logprobsNow(policy, credited) : undefined;
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    for (const actions of deal(shuffled(credited, random), options.miniBatches)) {
      const data = assembleData(actions, { ...options, current });
      const pass = policy.forwardBackward(data, options.loss);
      if (current === undefined) {
        gap ??= refuseWideGap(policy.id, gapOf(actions, (await pass.result).logprobs), options);
      }
      const valueLoss = learnValues(policy, actions, options);
      const step = policy.optimStep(options.adam);
      const results = await Promise.all([pass.result, step.result, valueLoss]);
      const { gradNorm } = results[1];
      if (gradNorm !== undefined && !Number.isFinite(gradNorm))
        throw notFinite(policy.id, gradNorm);
      passes.push({ pass: results[0], gradNorm, valueLoss: results[2] });
    }
  }
  return {
    ...summarize(passes),
    ...(options.isStale && passes.length > 0 && summarizeRatios(credited, current, options)),
    ...(gap === undefined ? {} : { 'logprob-gap': gap }),
  };
}

/** Log-probabilities of the actions' tokens by action id; undefined where the policy that was sampled has not moved. */
async function logprobsNow(
  policy: Policy,
  credited: readonly CreditedAction[],
): Promise<ReadonlyMap<string, Float32Array> | undefined> {
  const version = policy.version();
  if (credited.every(({ action }) => action.policy.version === version)) return undefined;
  const { logprobs } = await policy.forward(credited.map(({ action }) => datumOf(action))).result;
  return new Map(
    credited.map(({ action }, row) => [
      action.id,
      actionPart(action, logprobs[row] as Float32Array),
    ]),
  );
}

function summarizeRatios(
  credited: readonly CreditedAction[],
  current: ReadonlyMap<string, Float32Array> | undefined,
  { behaviourRatioLimit }: UpdateOptions,
): Metrics {
  const logRatios = credited.flatMap(({ action }) => [
    ...behaviourLogRatios(action, current?.get(action.id)),
  ]);
  const truncated = logRatios.filter((logRatio) => Math.exp(logRatio) > behaviourRatioLimit);
  return {
    'truncated-ratios': truncated.length / logRatios.length,
    'behaviour-kl': -sumOf(logRatios) / logRatios.length,
  };
}

type Passed = {
  readonly pass: PassResult;
  /** Absent where the engine does not say it. */
  readonly gradNorm: number | undefined;
  readonly valueLoss: number | undefined;
};

/** Adds the critic's gradient to the policy's: they share the weights below the head. */
async function learnValues(
  policy: Policy,
  actions: readonly CreditedAction[],
  { critic }: UpdateOptions,
): Promise<number | undefined> {
  if (critic === undefined) return undefined;
  const { coefficient, clip } = critic;
  const data = assembleCriticData(actions, coefficient);
  if (data.length === 0) return undefined;
  const loss = { kind: 'value', ...(clip !== undefined && { clip }) } as const;
  const { metrics } = await policy.forwardBackward(data, loss).result;
  return (metrics.loss ?? Number.NaN) / coefficient;
}

/** @param logprobs one row for each action, as the trainer computed them */
function gapOf(credited: readonly CreditedAction[], logprobs: PassResult['logprobs']): number {
  const gaps = credited.map(({ action }, row) => {
    const trained = actionPart(action, logprobs[row] as Float32Array);
    return action.logprobs.reduce(
      (most, sampled, token) => Math.max(most, Math.abs(sampled - (trained[token] as number))),
      0,
    );
  });
  return Math.max(...gaps);
}

function refuseWideGap(policy: string, gap: number, options: UpdateOptions): number {
  if (gap <= options.logprobGapLimit) return gap;
  throw new BoundaryError(
    'engine',
    `sampler and trainer disagree on policy ${policy}: log-probabilities of the same tokens differ by up to ${gap.toExponential(1)} nats, the limit is ${options.logprobGapLimit} (update.logprobGapLimit); training on them would be biased`,
  );
}

/** Parts whose sizes differ by at most one; empty parts are left out. */
function deal<Item>(items: readonly Item[], parts: number): Item[][] {
  return Array.from({ length: parts }, (_, part) =>
    items.slice(
      Math.floor((part * items.length) / parts),
      Math.floor(((part + 1) * items.length) / parts),
    ),
  ).filter((dealt) => dealt.length > 0);
}

function summarize(passes: readonly Passed[]): Metrics {
  if (passes.length === 0) return { 'optimizer-steps': 0 };
  const mean = (of: (entry: Passed) => number) => sumOf(passes.map(of)) / passes.length;
  const perToken = (name: string) =>
    mean(({ pass }) => (pass.metrics[name] ?? 0) / Math.max(1, pass.metrics.tokens ?? 0));
  const hasAll = (name: string) => passes.every(({ pass }) => name in pass.metrics);
  const norms = passes.flatMap(({ gradNorm }) => gradNorm ?? []);
  return {
    loss: mean(({ pass }) => pass.metrics.loss ?? 0),
    ...(norms.length === passes.length && { 'grad-norm': sumOf(norms) / norms.length }),
    'clip-fraction': perToken('clippedTokens'),
    ...(hasAll('entropy') && { entropy: perToken('entropy') }),
    ...(hasAll('referenceKl') && { 'reference-kl': perToken('referenceKl') }),
    ...(passes.every(({ valueLoss }) => valueLoss !== undefined) && {
      'value-loss': mean(({ valueLoss }) => valueLoss ?? Number.NaN),
    }),
    'optimizer-steps': passes.length,
  };
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function notFinite(policy: string, gradNorm: number): BoundaryError {
  return new BoundaryError(
    'engine',
    `the gradient of policy ${policy} is ${gradNorm}: the update diverged; resume from the last checkpoint with a lower update.learningRate or update.maxGradNorm`,
  );
}
