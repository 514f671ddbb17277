import type { Credit, CreditInput } from '../credit/assign-credit.ts';
import { seedFor } from '../random.ts';
import { playRequests } from '../rollout/collect.ts';
import { tasksFrom } from '../task/task-order.ts';
import type { CreditedAction } from '../types/credit.ts';
import type { Metrics } from '../types/metrics.ts';
import type { Policy } from '../types/training-service.ts';
import type { Trajectory } from '../types/trajectory.ts';
import { actionPart, datumOf } from '../update/assemble-data.ts';
import { updatePolicy } from '../update/update-policy.ts';
import { coachCosts, coachMetrics, countUnscoredPlays } from './coach-metrics.ts';
import { playAndJudge } from './play-and-judge.ts';
import {
  type ReferenceLogprobs,
  scoreUnderReference,
  streamReference,
} from './reference-logprobs.ts';
import {
  createStage,
  type Judged,
  type PlayStep,
  publishAll,
  type StepPlays,
  type Training,
  type Watch,
} from './training.ts';

/** How a method turns what a step's plays came to into credit. */
export type CreditRule = {
  /** Whether the coach is asked about every action. */
  readonly isCoached: boolean;
  /** Metrics of its own come with the credit. */
  readonly assign: (judged: Judged, evidence: Evidence) => Credit;
};

/** What the policies say of a step's actions, by action id. */
export type Evidence = Required<Pick<CreditInput, 'referenceLogprobs' | 'values'>>;

/**
 * One step of a method that takes policy gradients: the team plays, actions are judged and credited by the method's rule,
 * and every agent's policy takes optimiser steps on its own actions.
 */
export async function policyGradientStep(
  training: Training,
  step: number,
  { isCoached, assign }: CreditRule,
): Promise<Metrics> {
  const { policies, ahead } = training;
  const started = performance.now();
  const play: PlayStep = (playing, at) => playStep(playing, { ...at, isCoached });
  const plays = ahead
    ? await ahead.take(step, play)
    : await play(training, { step, staleness: 0, samplers: await publishAll(policies) });
  const { judged } = plays;
  const scope = String(step);

  const learned = await learnFrom(training, step, {
    ...{ trajectories: judged.trajectories, referenceLogprobs: plays.referenceLogprobs },
    assign: (evidence) => assign(judged, evidence),
  });
  return {
    ...rolloutMetrics(plays),
    ...(ahead && { staleness: plays.staleness }),
    ...agentMetrics(judged, [...policies.keys()]),
    ...(isCoached ? coachMetrics(training, scope, judged) : askedMetrics(training, scope)),
    ...unscoredMetric(training, judged),
    ...learned,
    'live-tensors': countersOf(training).liveTensors ?? 0,
    'rss-mebibytes': process.memoryUsage.rss() / 2 ** 20,
    ...memoryMetrics(countersOf(training)),
    'play-seconds': plays.seconds,
    seconds: (performance.now() - started) / 1000,
  };
}

/** Plays one step's tasks with the policies given, and has every action judged and scored under the reference. */
async function playStep(
  training: Training,
  {
    step,
    staleness,
    samplers,
    signal,
    onPlayed,
    isCoached,
  }: Parameters<PlayStep>[1] & { readonly isCoached: boolean },
): Promise<StepPlays> {
  const { settings } = training;
  const started = performance.now();
  const tasks = tasksFrom(training.tasks, settings.seed, {
    position: (step - 1) * settings.tasksPerStep,
    count: settings.tasksPerStep,
    ...(settings.stratify && { stratify: true }),
  });
  training.run.rescores.recordTasks(tasks);
  const stage = createStage(training, {
    scope: String(step),
    samplers,
    temperature: settings.temperature,
    ...(settings.filters && { filters: settings.filters }),
  });
  const requests = playRequests(tasks, settings.samplesPerTask);
  const references = streamReference(training, requests.length);
  let ended = 0;
  try {
    const judged = await playAndJudge(training, stage, requests, {
      coached: isCoached,
      onEnded: (place, trajectory) => {
        references.add(place, trajectory);
        if (++ended === requests.length) onPlayed?.();
      },
      ...(signal && { signal }),
    });
    const seconds = (performance.now() - started) / 1000;
    const referenceLogprobs = await references.scored();
    return { judged, referenceLogprobs, staleness, replayed: stage.finished.size, seconds };
  } finally {
    // Nothing goes on behind a run that has stopped.
    await references.settled();
  }
}

/** What a team's questions to the coach cost where the method has none. */
function askedMetrics(training: Training, scope: string): Metrics {
  return training.team.asksCoach ? coachCosts(training, scope) : {};
}

function unscoredMetric(training: Training, judged: Judged): Metrics {
  const plays = countUnscoredPlays(training, judged);
  return plays === undefined ? {} : { 'unscored-plays': plays };
}

/**
 * Credits the plays' actions by a rule and has every trained policy take optimiser steps on its own.
 *
 * @param lesson.referenceLogprobs where they are known; absent = the reference is asked
 */
export async function learnFrom(
  training: Training,
  step: number,
  lesson: {
    readonly trajectories: readonly Trajectory[];
    readonly referenceLogprobs?: ReferenceLogprobs;
    readonly assign: (evidence: Evidence) => Credit;
  },
): Promise<Metrics> {
  const { trajectories, assign } = lesson;
  training.watch.waiting('the update', 0, training.policies.size);
  const referenceLogprobs =
    lesson.referenceLogprobs ?? (await scoreUnderReference(training, trajectories));
  training.run.rescores.recordReferences(referenceLogprobs);
  const values = await criticValues(training, trajectories);
  const { credited, metrics } = assign({ referenceLogprobs, values });
  return { ...metrics, ...(await updateAll(training, step, credited)) };
}

/** Of all engines together. */
function countersOf({ service, ownModels }: Training): Readonly<Record<string, number>> {
  const own = [...(ownModels?.values() ?? [])];
  const services = new Set([service, ...own.map((model) => model.service)]);
  const sums: Record<string, number> = {};
  for (const counters of [...services].map((each) => each.counters())) {
    for (const [name, value] of Object.entries(counters)) sums[name] = (sums[name] ?? 0) + value;
  }
  return sums;
}

/** Where the engine says: memory of `weights`, `adapters`, `optimizers`, `cache` and `activations`, in MiB. */
function memoryMetrics(counters: Readonly<Record<string, number>>): Metrics {
  const parts = {
    weights: counters.weightBytes,
    adapters: counters.adapterBytes,
    optimizers: counters.optimizerBytes,
    cache: counters.cacheBytes,
    activations: counters.activationBytes,
  };
  const known = Object.entries(parts).flatMap(([name, bytes]) =>
    bytes === undefined ? [] : [[`${name}-mebibytes`, bytes / 2 ** 20] as const],
  );
  return Object.fromEntries(known);
}

/**
 * What each agent's critic predicts before every sampled token, by action id; empty where there are no critics. Those of
 * agents that are not trained are asked, too: their actions are credited like all others.
 */
async function criticValues(
  training: Training,
  trajectories: readonly Trajectory[],
): Promise<ReadonlyMap<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  if (training.settings.update.critic === undefined) return values;
  const played = trajectories.flatMap(({ failure, actions }) => (failure ? [] : actions));
  for (const [policy, agents] of groupByPolicy([...training.policies])) {
    const own = played.filter(({ agent, tokens }) => agents.includes(agent) && tokens.length > 0);
    if (own.length === 0) continue;
    const { values: predicted = [] } = await policy.forward(own.map(datumOf)).result;
    for (const [row, action] of own.entries()) {
      values.set(action.id, actionPart(action, predicted[row] as Float32Array));
    }
  }
  return values;
}

async function updateAll(
  training: Training,
  step: number,
  credited: readonly CreditedAction[],
): Promise<Metrics> {
  const { settings, watch } = training;
  const learningRate = settings.learningRateAt(step);
  const metrics: Record<string, number> = { 'learning-rate': learningRate };
  const trained = agentsByPolicy(training);
  let done = 0;
  const update = async ([policy, agents]: readonly [Policy, readonly string[]]) => {
    const { id } = policy;
    const own = credited.filter(({ action }) => agents.includes(action.agent));
    const started = performance.now();
    const updated = await updatePolicy(policy, own, {
      ...settings.update,
      adam: { ...settings.update.adam, learningRate },
      seed: seedFor(settings.seed, 'update', step, id),
      logprobGapLimit: settings.logprobGapLimit,
      isStale: settings.maxStalenessSteps > 0,
    });
    if (step === 1) noteRatio(watch, id, updated);
    for (const [name, value] of Object.entries(updated)) metrics[`${name}/${id}`] = value;
    metrics[`update-seconds/${id}`] = (performance.now() - started) / 1000;
    watch.waiting('the update', ++done, trained.size);
  };
  if (settings.updatesTogether) await allEnded([...trained].map(update));
  else for (const each of trained) await update(each);
  return metrics;
}

/** All have ended before the first failure is thrown: nothing goes on behind a run that has stopped. */
async function allEnded(started: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(started);
  await Promise.all(started);
}

/** Every step is checked; the first one says so. */
function noteRatio(watch: Watch, policy: string, updated: Metrics): void {
  const gap = updated['logprob-gap'];
  if (gap === undefined) return;
  watch.note(
    `log-probabilities of sampler and trainer, ${policy}: at most ${gap.toExponential(1)} apart`,
  );
}

/** Every policy that is trained, with the agents that play it: one each, or all where they share an adapter. */
export function agentsByPolicy({
  policies,
  settings,
}: Training): ReadonlyMap<Policy, readonly string[]> {
  return groupByPolicy([...policies].filter(([agent]) => !settings.frozen.includes(agent)));
}

function groupByPolicy(
  policies: readonly (readonly [agent: string, policy: Policy])[],
): ReadonlyMap<Policy, readonly string[]> {
  const grouped = Map.groupBy(policies, ([, policy]) => policy);
  return new Map([...grouped].map(([policy, group]) => [policy, group.map(([agent]) => agent)]));
}

/** `score/<agent>` (mean points), `sampled-tokens/<agent>`, `action-tokens/<agent>` (mean length), `truncated/<agent>` (share cut by length). */
function agentMetrics({ trajectories, feedback }: Judged, agents: readonly string[]): Metrics {
  const metrics: Record<string, number> = {};
  const played = trajectories.flatMap(({ failure, actions }) => (failure ? [] : actions));
  for (const agent of agents) {
    const own = played.filter((action) => action.agent === agent);
    if (own.length === 0) continue;
    const scores = own.flatMap(({ id }) => {
      const verdict = feedback.get(id);
      return verdict?.kind === 'scored' ? verdict.score : [];
    });
    if (scores.length > 0) metrics[`score/${agent}`] = meanOf(scores);
    metrics[`sampled-tokens/${agent}`] = own.reduce((sum, { tokens }) => sum + tokens.length, 0);
    metrics[`action-tokens/${agent}`] = meanOf(own.map(({ tokens }) => tokens.length));
    metrics[`truncated/${agent}`] = meanOf(own.map(({ stop }) => (stop === 'length' ? 1 : 0)));
  }
  return metrics;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function rolloutMetrics({ judged: { trajectories, outcomes }, replayed }: StepPlays): Metrics {
  const actions = trajectories.flatMap((trajectory) => trajectory.actions);
  const graded = [...outcomes.values()];
  const failed = trajectories.filter(({ failure }) => failure).length;
  const metrics: Record<string, number> = {
    plays: trajectories.length,
    failed,
    'sampled-tokens': actions.reduce((sum, { tokens }) => sum + tokens.length, 0),
  };
  if (graded.length > 0) {
    // As in an evaluation, a play that broke has not solved its task.
    metrics.accuracy = graded.filter(({ correct }) => correct).length / (graded.length + failed);
  }
  if (replayed > 0) metrics['replayed-actions'] = replayed;
  return metrics;
}
