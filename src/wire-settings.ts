import type { RunConfig } from './config/schema.ts';
import type { CreditOptions } from './credit/assign-credit.ts';
import type { Settings } from './methods/training.ts';
import type { Loss, SampleFilters } from './types/training-service.ts';
import { learningRateAt } from './update/schedule.ts';
import { wireMethod } from './wire-method.ts';

function filtersOf({ topK, topP, minP }: RunConfig['rollout']): SampleFilters {
  return {
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    ...(minP !== undefined && { minP }),
  };
}

function lossOf(update: RunConfig['update']): Loss {
  const { loss, clipLow, clipHigh, dualClip, entropyCoefficient } = update;
  const kl = { coefficient: update.klCoefficient, estimator: update.klEstimator };
  const terms = { entropyCoefficient, ...(kl.coefficient > 0 && { kl }) };
  switch (loss) {
    case 'ppo':
      return { kind: loss, clipLow, clipHigh, ...(dualClip && { dualClip }), ...terms };
    case 'cispo':
    case 'gspo':
      return { kind: loss, clipLow, clipHigh, ...terms };
    case 'importance_sampling':
      return { kind: loss, ...terms };
  }
}

/** How a config turns verdicts or outcomes into advantages. */
export function creditOptionsOf({ credit }: RunConfig): CreditOptions {
  const { source, estimator, klCoefficient, gamma, sigmaFloor } = credit;
  return { credit: source, estimator, klCoefficient, gamma, sigmaFloor };
}

/** The numbers of a run as methods read them, in their units. */
export function settingsOf(config: RunConfig): Settings {
  const { rollout, update, training, evaluation, coaching } = config;
  const { learningRate, schedule, warmupSteps, beta1, beta2, eps } = update;
  const { steps } = wireMethod(config);
  const rate = (step: number) =>
    learningRateAt(learningRate, schedule, { step, steps, warmupSteps });
  return {
    seed: config.seed,
    steps,
    tasksPerStep: rollout.tasksPerStep,
    samplesPerTask: rollout.samplesPerTask,
    temperature: rollout.temperature,
    filters: filtersOf(rollout),
    concurrency: rollout.concurrency,
    playTimeoutMs: rollout.playTimeoutSeconds * 1000,
    maxActions: rollout.maxActions,
    maxActionTokens: rollout.maxActionTokens ?? Number.POSITIVE_INFINITY,
    frozen: training.frozen ?? [],
    failedShareLimit: rollout.failedShareLimit,
    unscoredShareLimit: coaching.unscoredShareLimit,
    coachConcurrency: coaching.concurrency,
    showOutcome: coaching.showOutcome,
    logprobGapLimit: update.logprobGapLimit,
    credit: creditOptionsOf(config),
    update: {
      loss: lossOf(update),
      average: update.average,
      behaviourRatioLimit: update.behaviourRatioLimit,
      epochs: update.epochs,
      miniBatches: update.miniBatches,
      adam: {
        ...{ learningRate, beta1, beta2, eps },
        weightDecay: update.weightDecay,
        maxGradNorm: update.maxGradNorm,
      },
    },
    learningRateAt: rate,
    evaluation,
  };
}
