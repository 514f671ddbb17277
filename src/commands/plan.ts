import { totalmem } from 'node:os';
import { costOf, priceOf } from '../coach/prices.ts';
import { asksCoach, isCoached } from '../config/asks-coach.ts';
import { coachName, loadConfig } from '../config/load-config.ts';
import type { RunConfig } from '../config/schema.ts';
import { BoundaryError } from '../errors.ts';
import { type MemoryPlan, type MemoryUse, totalMemory } from '../service/local/plan-memory.ts';
import { type Command, repeated } from './command.ts';
import {
  type DryStep,
  measuredLoad,
  memoryOf,
  takeDryStep,
  verdictTokens,
  type Workload,
  workloadOf,
} from './plan-run.ts';
import type { TreeLoad } from './plan-trees.ts';
import { createProgress, duration, screenFor } from './progress.ts';

/** What Node, libtorch and a Python interpreter take beside the model. */
const processBytes = 700 * 2 ** 20;
/** Set aside for what the components do not count: passing copies and the allocator's gaps. */
const allowance = 0.15;

export const planCommand: Command = {
  summary: 'Say before a run what it takes: memory, coach calls, time; refuse what cannot fit.',
  operands: ['CONFIG'],
  options: {
    set: { type: 'string', multiple: true, help: 'override a key, for example model.maxRows=16' },
  },
  run: async (request) => {
    const config = await loadConfig(request.operands[0] as string, repeated(request, 'set'));
    const say = (lines: readonly string[]) => request.json || console.log(lines.join('\n'));
    const available = availableMemory();
    const memoryFor = async (load: Workload, title: string) => {
      const { memory, use } = await memoryOf(config, load);
      say(describeMemory(memory, available, title));
      refuseWhatCannotFit({ config, use, memory, available });
      return memory;
    };
    const declared = await workloadOf(config);
    const declaredMemory = await memoryFor(declared, 'memory');
    const watch = createProgress(screenFor(process.stderr), { steps: 1, agents: [] });
    const dryStep = await takeDryStep(config, declared, { ...watch, note: () => undefined });
    const load = measuredLoad(declared, dryStep);
    const title = `memory, with the ${dryStep.mostActions} actions that a play was seen to have`;
    const memory = load === declared ? declaredMemory : await memoryFor(load, title);
    const coach = coachPlan(config, load, dryStep);
    const time = timePlan(load, dryStep);
    const trees = load.trees ? describeTrees(load.trees) : [];
    say([...trees, ...describeCoach(coach), ...describeTime(time, dryStep)]);
    const components = { ...memory, process: processBytes, allowance: allowanceFor(memory) };
    return {
      memory: { ...components, total: totalOf(memory), available },
      load,
      coach,
      time,
      dryStep,
    };
  },
};

/** Of the machine, or of the container that this process is in. */
function availableMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

function totalOf(memory: MemoryPlan): number {
  return totalMemory(memory) + processBytes + allowanceFor(memory);
}

function allowanceFor(memory: MemoryPlan): number {
  return Math.round(allowance * totalMemory(memory));
}

type Fit = {
  readonly config: RunConfig;
  readonly use: MemoryUse;
  readonly memory: MemoryPlan;
  readonly available: number;
};

/** @throws BoundaryError("config") naming the key to turn */
function refuseWhatCannotFit(fit: Fit): void {
  const total = totalOf(fit.memory);
  if (total <= fit.available) return;
  const needs = `the run may need ${gibibytes(total)}, this machine has ${gibibytes(fit.available)}`;
  throw new BoundaryError(
    'config',
    `${needs}: ${adviceFor(fit, (total - fit.available) / (1 + allowance))}`,
  );
}

/** The gentlest change that saves `over` bytes: fewer rows at once, smaller passes, and only then less of the run itself. */
function adviceFor({ config, use, memory }: Fit, over: number): string {
  const shrunk = (size: number, bytes: number) => Math.floor((size * (bytes - over)) / bytes);
  const rows = shrunk(use.rows, memory.cache);
  if (rows >= 1) return `set model.maxRows=${rows}`;
  const tokens = shrunk(use.passTokens, memory.activations);
  if (tokens >= use.context) return `set model.microBatchTokens=${tokens}`;
  const dtype = config.model.dtype === 'float32' ? 'set model.dtype=bfloat16, ' : '';
  return `${dtype}lower rollout.maxActionTokens (sequences may have ${use.context} tokens), model.maxRows and model.microBatchTokens, or take a smaller model`;
}

type CoachPlan = {
  readonly name: string;
  /** Asked over a network by its name, and so at a price; a function of the config and a folder are not. */
  readonly isProvider: boolean;
  /** In the whole run; nobody is asked where the outcome is the reward. */
  readonly calls: readonly [least: number, most: number];
  /** Of one call, estimated. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Of all calls; absent where the coach has no price. */
  readonly usd?: readonly [least: number, most: number];
};

function coachPlan(config: RunConfig, load: Workload, dryStep: DryStep): CoachPlan {
  const plays = (load.trees?.rounds ?? load.steps) * load.playsPerStep;
  // A leaf of a tree is judged once, by its last action.
  const [fewest, all] = load.trees ? [1, 1] : load.actionsPerPlay;
  const least = isCoached(config) ? plays * fewest : 0;
  // A team that asks by itself does so about as many actions as it likes, and in evaluations, too.
  const evaluationPlays = config.team.asksCoach ? load.evaluationPlays : 0;
  const most = asksCoach(config) ? (plays + evaluationPlays) * all : 0;
  const input = Math.round(verdictTokens.rubric + dryStep.observationTokens + load.actionTokens);
  const name = coachName(config.coach);
  const price = priceOf(name, config.coaching.prices ?? {});
  const usd = price && costOf(price, { input, output: verdictTokens.reply });
  return {
    ...{ name, isProvider: isProvider(config.coach) },
    ...{ calls: [least, most], inputTokens: input, outputTokens: verdictTokens.reply },
    ...(usd === undefined ? {} : { usd: [least * usd, most * usd] }),
  };
}

function isProvider(coach: RunConfig['coach']): boolean {
  return typeof coach === 'string' ? !/^(local|verifier)\//.test(coach) : 'modelId' in coach;
}

type TimePlan = {
  /** With actions as long as those of the dry step. */
  readonly measuredStepSeconds: number;
  readonly stepSeconds: number;
  readonly trainingSeconds: number;
  readonly evaluationSeconds: number;
};

/** At most: every action at its limit, at the pace of the dry step. */
function timePlan(load: Workload, dryStep: DryStep): TimePlan {
  const [, actions] = load.actionsPerPlay;
  const playSeconds = load.tokensPerPlay / dryStep.samplingRate;
  const evaluationSeconds = load.evaluationPlays * playSeconds;
  if (load.trees) return { ...bounded(treeTime(load.trees, dryStep)), evaluationSeconds };
  const trainedTokens = load.tokensPerPlay + actions * dryStep.observationTokens;
  const stepSeconds = load.playsPerStep * (playSeconds + trainedTokens / dryStep.trainingRate);
  const time = bounded({
    measuredStepSeconds: (load.playsPerStep * dryStep.seconds) / dryStep.plays,
    stepSeconds,
    trainingSeconds: load.steps * stepSeconds,
  });
  return { ...time, evaluationSeconds };
}

type TrainingTime = Omit<TimePlan, 'evaluationSeconds'>;

/** What a step takes beside its tokens is in the measured time alone: no bound is below it. */
function bounded({
  measuredStepSeconds,
  stepSeconds,
  trainingSeconds,
}: TrainingTime): TrainingTime {
  const most = Math.max(stepSeconds, measuredStepSeconds);
  return {
    ...{ measuredStepSeconds, stepSeconds: most },
    trainingSeconds: stepSeconds === 0 ? 0 : (trainingSeconds * most) / stepSeconds,
  };
}

/** The same of trees: of a step, the mean over those of a round. */
function treeTime(trees: TreeLoad, dryStep: DryStep): TrainingTime {
  const { rounds, questions, stepsPerRound } = trees;
  const { observationTokens, samplingRate, trainingRate, seconds, playSeconds, actions } = dryStep;
  const trained = trees.trainedTokens + trees.trainedActions * observationTokens;
  const questionSeconds = trees.sampledTokens / samplingRate + trained / trainingRate;
  const measured =
    (trees.actions * playSeconds + trees.trainedActions * (seconds - playSeconds)) / actions;
  return {
    measuredStepSeconds: (questions * measured) / stepsPerRound,
    stepSeconds: (questions * questionSeconds) / stepsPerRound,
    trainingSeconds: rounds * questions * questionSeconds,
  };
}

function describeTrees({ rounds, questions, leaves, actions, ...load }: TreeLoad): string[] {
  const number = (value: number) => value.toLocaleString('en-US');
  return [
    'trees, at most: fully grown, every action positive',
    `  ${number(rounds)} × ${number(questions)} questions of ${number(leaves)} plays, which share beginnings: ${number(actions)} actions and ${number(load.sampledTokens)} tokens sampled for one`,
    `  ${number(load.trainedActions)} actions through the model for one question's training, all epochs counted`,
  ];
}

function describeMemory(memory: MemoryPlan, available: number, title: string): string[] {
  const lines: readonly (readonly [string, number])[] = [
    ['weights', memory.weights],
    ['adapters', memory.adapters],
    ['optimiser', memory.optimiser],
    ['KV cache', memory.cache],
    ['activations', memory.activations],
    ...(memory.others > 0 ? [['other models', memory.others] as const] : []),
    ['process', processBytes],
    ['allowance', allowanceFor(memory)],
    ['estimate', totalOf(memory)],
    ['this machine', available],
  ];
  return [
    title,
    ...lines.map(([name, bytes]) => `  ${name.padEnd(13)} ${gibibytes(bytes).padStart(10)}`),
  ];
}

function describeCoach(plan: CoachPlan): string[] {
  const { name, calls, inputTokens, outputTokens, usd } = plan;
  const [least, most] = calls;
  if (most === 0) return ['coach', '  is not asked: the outcome is the reward'];
  const thousands = (value: number) => value.toLocaleString('en-US');
  if (!plan.isProvider) {
    return [
      `coach ${name}`,
      `  ${thousands(least)} to ${thousands(most)} verdicts, given in this process: nobody is paid, unless its own code asks somebody`,
    ];
  }
  return [
    `coach ${name}`,
    `  ${thousands(least)} to ${thousands(most)} calls of about ${thousands(inputTokens)} tokens in and ${thousands(outputTokens)} out`,
    usd === undefined
      ? '  its price is not known: name it in coaching.prices to have the cost'
      : `  $${usd[0].toFixed(2)} to $${usd[1].toFixed(2)}; coaching.budget holds it to less`,
  ];
}

function describeTime(time: TimePlan, dryStep: DryStep): string[] {
  const { plays, sampledTokens, samplingRate, trainedTokens, trainingRate } = dryStep;
  const { actions, cutActions } = dryStep;
  return [
    'time, at most: every action at its limit, at the pace measured',
    `  a step        ${duration(time.stepSeconds)}`,
    `  all steps     ${duration(time.trainingSeconds)}`,
    `  evaluations   ${duration(time.evaluationSeconds)}`,
    `time, with actions as long as those measured: ${(sampledTokens / actions).toFixed(0)} tokens each, ${cutActions} of ${actions} cut short by the measurement`,
    `  a step        ${duration(time.measuredStepSeconds)}`,
    `measured in one real step of ${plays} plays`,
    `  sampling      ${samplingRate.toFixed(0)} tokens/s (${sampledTokens} tokens, prompts included)`,
    `  training      ${trainingRate.toFixed(0)} tokens/s (${trainedTokens} tokens, reference included)`,
    `  memory        ${gibibytes(dryStep.peakBytes - dryStep.processBytes)} on top of the process (planned for a step of that size: ${gibibytes(dryStep.plannedBytes)})`,
  ];
}

function gibibytes(bytes: number): string {
  return bytes < 2 ** 30
    ? `${(bytes / 2 ** 20).toFixed(0)} MiB`
    : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
