import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelOfVerifier } from '../coach/trained-verifier.ts';
import { asksCoach } from '../config/asks-coach.ts';
import type { RunConfig } from '../config/schema.ts';
import { openModelFolder } from '../engine/model-folder.ts';
import { describeEngine } from '../engine/native.ts';
import { mappaStep } from '../methods/mappa.ts';
import type { Training, Watch } from '../methods/training.ts';
import { agentNames } from '../rollout/team.ts';
import {
  type MemoryPlan,
  type MemoryUse,
  planMemory,
  sampledMemory,
  totalMemory,
} from '../service/local/plan-memory.ts';
import { loadTokenizer } from '../tokenizer/tokenizer.ts';
import type { Metrics } from '../types/metrics.ts';
import type { Action } from '../types/trajectory.ts';
import { wireMethod } from '../wire-method.ts';
import { readHeldOut, readTrainingTasks, wire } from '../wiring.ts';
import { type TreeLoad, treeLoadOf } from './plan-trees.ts';

/** How often and how long everything is done in a run, at most: every action at its limit. */
export type Workload = {
  readonly steps: number;
  readonly playsPerStep: number;
  /** Actions of one play: at least one for each agent, at most all turns, or what a play was seen to have. */
  readonly actionsPerPlay: readonly [least: number, most: number];
  /** Sampled tokens of one play, at most. */
  readonly tokensPerPlay: number;
  readonly evaluationPlays: number;
  /** Tokens of the longest sequence: the longest task, the team's words around it, and all that agents can write. */
  readonly context: number;
  /** Tokens that the model takes at most. */
  readonly maxPositions: number;
  /** Longest action. */
  readonly actionTokens: number;
  /** Absent unless the method grows trees; plays are then those of the step that grows them. */
  readonly trees?: TreeLoad;
};

/** What one short step of the real model showed. */
export type DryStep = {
  readonly plays: number;
  /** Of the whole step. */
  readonly seconds: number;
  readonly playSeconds: number;
  readonly actions: number;
  /** Of the play that had the most. */
  readonly mostActions: number;
  /** Actions that the step's own limit of tokens cut. */
  readonly cutActions: number;
  readonly sampledTokens: number;
  /** Sampled tokens per second of all plays together, prompts included. */
  readonly samplingRate: number;
  /** Tokens that went through reference and update. */
  readonly trainedTokens: number;
  readonly trainingRate: number;
  /** Mean tokens of an observation. */
  readonly observationTokens: number;
  /** Of the process: before the model was loaded, and at the most. */
  readonly processBytes: number;
  readonly peakBytes: number;
  /** What the plan says of a step of this size. */
  readonly plannedBytes: number;
};

/** What a coach reads besides the action's own context, and what it answers, its reasoning included; in tokens. */
export const verdictTokens = { rubric: 1500, reply: 1000 };
/** Tokens that a team's prompts and the chat template are taken to add to a task before anything is played. */
const promptTokens = 1024;
/**
 * The dry steps: of two plays, to get everything started, then of four times as many while the next one should not take
 * more than twenty seconds and the run has so many at once. The last one counts.
 */
const dry = { plays: 2, growth: 4, seconds: 20, actionTokens: 32 };

/** @throws BoundaryError when a task file, the tokenizer or the model's `config.json` is missing or wrong */
export async function workloadOf(config: RunConfig): Promise<Workload> {
  const { rollout, evaluation, team } = config;
  const [tasks, heldOut] = [await readTrainingTasks(config), await readHeldOut(config)];
  const tokenizer = await loadTokenizer(config.model.path);
  const prompts = [...tasks, ...heldOut.flatMap((set) => set.tasks)].map(({ prompt }) => prompt);
  const longest = Math.max(...prompts.map((prompt) => tokenizer.encode(prompt).length));
  const agents = agentNames(team).map((name) => {
    const { maxTokens = 0, maxTurns = 1 } = team.agents[name] ?? {};
    const limited = Math.min(maxTokens, rollout.maxActionTokens ?? maxTokens);
    return { name, maxTurns, maxTokens: limited };
  });
  const tokensPerPlay = sum(agents.map(({ maxTokens, maxTurns }) => maxTokens * maxTurns));
  const { config: model } = await openModelFolder(config.model.path);
  const { steps } = wireMethod(config);
  const evaluations = 2 + (evaluation.every > 0 ? Math.ceil(steps / evaluation.every) - 1 : 0);
  const { method } = config;
  const trees = method.kind === 'malt' ? treeLoadOf(method, agents, tasks.length) : undefined;
  const heldOutTasks = sum(heldOut.map((set) => set.tasks.length));
  return {
    steps,
    playsPerStep: trees
      ? trees.questions * trees.leaves
      : rollout.tasksPerStep * rollout.samplesPerTask,
    ...(trees && { trees }),
    actionsPerPlay: [agents.length, sum(agents.map(({ maxTurns }) => maxTurns))],
    tokensPerPlay,
    evaluationPlays: heldOutTasks * evaluation.samplesPerTask * evaluations,
    context: Math.min(model.maxPositions, longest + promptTokens + tokensPerPlay),
    maxPositions: model.maxPositions,
    actionTokens: Math.max(...agents.map(({ maxTokens }) => maxTokens)),
  };
}

/** The run's memory by component and what it follows from; reads the model's `config.json` and no weights. */
export async function memoryOf(
  config: RunConfig,
  load: Workload,
): Promise<{ readonly memory: MemoryPlan; readonly use: MemoryUse }> {
  const { config: model } = await openModelFolder(config.model.path);
  const use = memoryUse(config, load);
  const own = await ownModelsOf(config, use);
  const plan = planMemory(model, { ...use, policies: use.policies - own.policies });
  // Policies take their passes one after another.
  const activations = Math.max(plan.activations, ...own.plans.map((each) => each.activations));
  const others = sum(own.plans.map((each) => totalMemory({ ...each, activations: 0 })));
  const coach = await coachMemory(config, use);
  return { memory: { ...plan, activations, others: others + coach }, use };
}

/** Models of single agents, each once, with the policies that are trained on it. */
async function ownModelsOf(
  { model }: RunConfig,
  use: MemoryUse,
): Promise<{ readonly policies: number; readonly plans: readonly MemoryPlan[] }> {
  const agents = Object.entries(model.agents ?? {});
  const byModel = Map.groupBy(agents, ([, path]) => path);
  const plans = [...byModel].map(async ([path, { length: policies }]) => {
    const { config } = await openModelFolder(path);
    const context = Math.min(use.context, config.maxPositions);
    return planMemory(config, { ...use, context, policies });
  });
  return { policies: agents.length, plans: await Promise.all(plans) };
}

/** A coach that is a folder of ours. */
async function coachMemory(config: RunConfig, use: MemoryUse): Promise<number> {
  const { coach, coaching, model } = config;
  const [kind, folder = ''] = typeof coach === 'string' ? splitOnce(coach, '/') : [];
  if (asksCoach(config) && kind === 'local') {
    const written = use.context + verdictTokens.rubric + coaching.maxReplyTokens;
    const coachUse = (maxPositions: number): MemoryUse => ({
      ...use,
      rows: Math.min(model.maxRows, coaching.concurrency),
      context: Math.min(maxPositions, written),
    });
    return sampled(folder, coachUse);
  }
  if (asksCoach(config) && kind === 'verifier') {
    // It scores and samples nothing, so it has no cache.
    return sampled(await modelOfVerifier(folder), () => ({ ...use, rows: 0 }));
  }
  return 0;
}

async function sampled(path: string, useFor: (maxPositions: number) => MemoryUse): Promise<number> {
  const { config } = await openModelFolder(path);
  return sampledMemory(config, useFor(config.maxPositions));
}

function splitOnce(text: string, mark: string): readonly [string, string] {
  const at = text.indexOf(mark);
  return [text.slice(0, at), text.slice(at + 1)];
}

function memoryUse(
  config: RunConfig,
  load: Pick<Workload, 'context' | 'actionTokens' | 'playsPerStep'>,
): MemoryUse {
  const { model, adapter, rollout, team } = config;
  // A row that is longer than the budget is a pass of its own.
  const passTokens = Math.max(model.microBatchTokens, load.context);
  return {
    dtype: model.dtype,
    device: model.device,
    isCheckpointed: model.gradientCheckpointing,
    rank: adapter.rank,
    policies: adapter.shared ? 1 : agentNames(team).length,
    rows: Math.min(model.maxRows, rollout.concurrency, load.playsPerStep),
    context: load.context,
    passTokens,
    scoredTokens: Math.ceil(
      (passTokens * load.actionTokens) / (load.actionTokens + promptTokens / 4),
    ),
  };
}

/**
 * Plays and trains small steps with the real model, team and tools, in a folder of their own that is removed. A rule
 * stands in for the coach, so nobody is asked and nothing is paid.
 */
export async function takeDryStep(
  config: RunConfig,
  { playsPerStep }: Workload,
  watch: Watch,
): Promise<DryStep> {
  // Loads libtorch, whose own size is no part of the model's.
  describeEngine();
  const processBytes = process.memoryUsage.rss();
  const directory = await mkdtemp(join(tmpdir(), 'teamtune-plan-'));
  const { training, close } = await wire(dryConfig(config), { directory, resume: false, watch });
  try {
    const { step, plays, metrics } = await largestStep(config, training, playsPerStep);
    const actions = training.run.actionsOf(step);
    const lengths = training.run.trajectoriesOf(step).map((play) => play.actions.length);
    const pace = { ...paceOf(actions, metrics), mostActions: Math.max(...lengths) };
    const peakBytes = process.resourceUsage().maxRSS * 1024;
    const plannedBytes = await plannedFor(config, actions, plays);
    return { plays, ...pace, processBytes, peakBytes, plannedBytes };
  } finally {
    await close();
    await rm(directory, { recursive: true, force: true });
  }
}

type TakenStep = { readonly step: number; readonly plays: number; readonly metrics: Metrics };

/** A batch as large as the run's is what sampling costs; the first steps bear the start of interpreters and caches. */
async function largestStep(
  { rollout, model }: RunConfig,
  training: Training,
  playsPerStep: number,
): Promise<TakenStep> {
  const atOnce = Math.min(playsPerStep, rollout.concurrency, model.maxRows);
  let plays = dry.plays;
  for (let step = 1; ; step++) {
    const begin = performance.now();
    const settings = { ...training.settings, tasksPerStep: plays, samplesPerTask: 1 };
    const metrics = await mappaStep({ ...training, settings }, step);
    const seconds = (performance.now() - begin) / 1000;
    const isLast = plays >= atOnce || seconds * dry.growth > dry.seconds;
    // The first step is mostly start, unless the model is so slow that it does not matter.
    if ((isLast && step > 1) || seconds > dry.seconds) return { step, plays, metrics };
    if (!isLast) plays = Math.min(atOnce, plays * dry.growth);
  }
}

/**
 * The workload of a team whose code asks its agents more than once, which only a play shows: no fewer actions than the dry
 * step's longest play had, and as many more tokens.
 */
export function measuredLoad(load: Workload, { mostActions }: DryStep): Workload {
  const [least, declared] = load.actionsPerPlay;
  if (mostActions <= declared) return load;
  const tokensPerPlay = Math.ceil((load.tokensPerPlay * mostActions) / declared);
  const context = load.context + tokensPerPlay - load.tokensPerPlay;
  return {
    ...load,
    ...{ actionsPerPlay: [least, mostActions], tokensPerPlay },
    context: Math.min(load.maxPositions, context),
  };
}

function paceOf(actions: readonly Action[], metrics: Metrics) {
  const observation = sum(actions.map((action) => action.observation.length));
  const sampled = sum(actions.map((action) => action.tokens.length));
  const { 'play-seconds': playSeconds = Number.NaN, seconds = Number.NaN } = metrics;
  return {
    ...{ seconds, playSeconds, actions: actions.length },
    cutActions: actions.filter(({ stop }) => stop === 'length').length,
    sampledTokens: sampled,
    samplingRate: sampled / playSeconds,
    trainedTokens: observation + sampled,
    trainingRate: (observation + sampled) / (seconds - playSeconds),
    observationTokens: observation / actions.length,
  };
}

async function plannedFor(
  config: RunConfig,
  actions: readonly Action[],
  plays: number,
): Promise<number> {
  const lengths = actions.map((action) => action.observation.length + action.tokens.length);
  const context = Math.max(...lengths);
  const use = memoryUse(dryConfig(config), {
    ...{ context, actionTokens: dry.actionTokens, playsPerStep: plays },
  });
  const passTokens = Math.min(use.passTokens, sum(lengths));
  const scored = sum(actions.map((action) => action.tokens.length));
  const { config: model } = await openModelFolder(config.model.path);
  const small = { ...use, passTokens, scoredTokens: Math.min(passTokens, scored) };
  return totalMemory(planMemory(model, small));
}

function dryConfig(config: RunConfig): RunConfig {
  const { heldOut: _, ...tasks } = config.tasks;
  const { maxActionTokens = dry.actionTokens } = config.rollout;
  return {
    ...config,
    tasks,
    // Scores that differ: of equal ones nothing is learned, and no update would be measured.
    coach: ({ action }) => action.seed % 11,
    method: { kind: 'mappa' },
    credit: { ...config.credit, source: 'coach' },
    coaching: { ...config.coaching, budget: { whenSpent: 'pause' }, cache: false },
    rollout: {
      ...config.rollout,
      ...{ tasksPerStep: dry.plays, samplesPerTask: 1, failedShareLimit: 1 },
      maxActionTokens: Math.min(maxActionTokens, dry.actionTokens),
    },
    training: { ...config.training, steps: 1 },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
