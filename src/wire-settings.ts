import type { RunConfig } from './config/schema.ts';
import type { CreditOptions } from './credit/assign-credit.ts';
import type { RecordedRule } from './methods/recredit.ts';
import type { Settings } from './methods/training.ts';
import type { Adam, Loss, SampleFilters } from './types/training-service.ts';
import { learningRateAt } from './update/schedule.ts';
import { wireMethod } from './wire-method.ts';
import { gradersOf } from './wire-tasks.ts';

type Critic = { readonly lambda: number; readonly coefficient: number; readonly clip: number };

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
function creditOptionsOf(config: RunConfig): CreditOptions {
  const { source, estimator, klCoefficient, gamma, sigmaFloor } = config.credit;
  const critic = criticOf(config);
  const how = critic ? { estimator: 'gae' as const, lambda: critic.lambda } : { estimator };
  return { credit: source, ...how, klCoefficient, gamma, sigmaFloor };
}

/**
 * How the run's method gives credit to what was recorded. What critics predicted is not recorded, so that advantages that
 * were measured from them are derived by `credit.estimator`.
 */
export function recordedRuleOf(config: RunConfig): RecordedRule {
  const { method, credit } = config;
  const options = { ...creditOptionsOf(config), estimator: credit.estimator };
  if (method.kind === 'malt') return { ...options, credit: 'method', leaves: method.judge };
  if (method.kind !== 'maporl') return options;
  const { payoffs, ...influence } = method;
  const { grade } = gradersOf(config);
  const isGraded = method.verifier === 'grade';
  const discussion = { ...influence, ...(payoffs && { payoffs }), grade, isGraded };
  return { ...options, credit: 'method', discussion };
}

/** The critic that every policy gets beside it; undefined where the method has none. */
export function criticOf({ method }: RunConfig): Critic | undefined {
  return method.kind === 'maporl' && method.critic !== false ? method.critic : undefined;
}

/** The numbers of a run as methods read them, in their units. */
export function settingsOf(config: RunConfig): Settings {
  const { rollout, update, training, evaluation, coaching } = config;
  const { learningRate, schedule, warmupSteps } = update;
  const { steps } = wireMethod(config);
  const critic = criticOf(config);
  const rate = (step: number) =>
    learningRateAt(learningRate, schedule, { step, steps, warmupSteps });
  return {
    seed: config.seed,
    steps,
    tasksPerStep: rollout.tasksPerStep,
    samplesPerTask: rollout.samplesPerTask,
    maxStalenessSteps: rollout.maxStalenessSteps,
    stratify: config.tasks.stratify,
    temperature: rollout.temperature,
    filters: filtersOf(rollout),
    concurrency: rollout.concurrency,
    playTimeoutMs: rollout.playTimeoutSeconds * 1000,
    maxActions: rollout.maxActions,
    maxActionTokens: rollout.maxActionTokens ?? Number.POSITIVE_INFINITY,
    frozen: training.frozen ?? [],
    gradesEveryAnswer: config.method.kind === 'maporl',
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
      ...(critic && { critic: { coefficient: critic.coefficient, clip: critic.clip } }),
      adam: { learningRate, ...adamOf(update) },
    },
    learningRateAt: rate,
    updatesTogether: config.service !== 'local',
    evaluation,
  };
}

/** AdamW's numbers besides its learning rate. */
export function adamOf({
  beta1,
  beta2,
  eps,
  weightDecay,
  maxGradNorm,
}: RunConfig['update']): Omit<Adam, 'learningRate'> {
  const limit = maxGradNorm === false ? {} : { maxGradNorm };
  return { beta1, beta2, eps, weightDecay, ...limit };
}
