import { assignCredit } from '../../credit/assign-credit.ts';
import type { Selection } from '../../credit/select-role-data.ts';
import { BoundaryError } from '../../errors.ts';
import { seedFor } from '../../random.ts';
import type { Branching } from '../../rollout/branching.ts';
import type { Expansion } from '../../rollout/next-leaves.ts';
import { agentNames } from '../../rollout/team.ts';
import { tasksFrom } from '../../task/task-order.ts';
import type { Metrics } from '../../types/metrics.ts';
import type { Trajectory } from '../../types/trajectory.ts';
import { agentsByPolicy, learnFrom } from '../policy-gradient-step.ts';
import type { Method, Training } from '../training.ts';
import { growTrees, type QuestionTree, readTrees } from './grow-trees.ts';
import type { LeafJudge } from './leaf-value.ts';
import { collectRoles, distinctActions, type RoleSets } from './role-data.ts';
import {
  type Passes,
  type PreferenceOptions,
  trainOnExamples,
  trainOnPairs,
} from './train-role.ts';

/** What MALT is told; docs/configuration.md has each with its default. */
export type MaltOptions = {
  readonly rounds: number;
  /** Questions of one round; absent = all. */
  readonly questions?: number | undefined;
  /** Ways at every action, or at the first, the second, … */
  readonly branching: number | Branching;
  readonly expansion: Expansion['order'];
  readonly leavesPerQuestion?: number | undefined;
  readonly unanimousAfter?: number | undefined;
  readonly judge: LeafJudge;
  readonly select: Selection;
  readonly objective: Objective;
  readonly sft: Passes;
  readonly dpo: PreferenceOptions & {
    /** Absent = all but the first one, whose drafts the paper's preference training made worse. */
    readonly agents?: readonly string[] | undefined;
  };
};

/**
 * What is done with the trees of a round, one training step each: `sft-dpo` is the paper's, `sft` its baseline, `values`
 * takes policy gradients with the values as rewards.
 */
const stages = {
  sft: ['examples'],
  'sft-dpo': ['examples', 'pairs'],
  values: ['values'],
} as const satisfies Record<string, readonly StageName[]>;

type StageName = 'examples' | 'pairs' | 'values';
export type Objective = keyof typeof stages;

/** Training steps of a whole run: each stage of each round is one, with a checkpoint after it. */
export function countMaltSteps({ rounds, objective }: MaltOptions): number {
  return rounds * stages[objective].length;
}

/**
 * MALT (Motwani et al. 2025, arXiv:2412.01928). Each round grows a tree of plays for every question with the team as it
 * is, backs the grades of the leaves up to every action, and trains each agent on its own: supervised on its positive
 * actions, then on preferences between siblings with the supervised policy as reference.
 *
 * A round's first step grows the trees and trains on examples, its second on preferences; a step that is done again after
 * an interruption finds the trees in the run store.
 */
export function createMalt(options: MaltOptions): Method {
  const perRound = stages[options.objective].length;
  return async (training, step) => {
    const started = performance.now();
    const round = Math.ceil(step / perRound);
    const stage = stages[options.objective][(step - 1) % perRound] as StageName;
    const growth = growthOf(training, options, { round, firstStep: (round - 1) * perRound + 1 });
    training.run.rescores.recordTasks(growth.tasks);
    const isFirst = (step - 1) % perRound === 0;
    const trees = isFirst ? await growTrees(training, growth) : readTrees(training, growth);
    const playSeconds = (performance.now() - started) / 1000;
    const { roles, metrics } = collectRoles(trees, agentNames(training.team), options.select);
    if (isFirst) training.run.trees.record([...roles.values()].flatMap(({ nodes }) => nodes));
    const teach = { examples: teachExamples, pairs: teachPairs, values: teachValues }[stage];
    const trained = await teach(training, { options, trees, roles, step });
    return {
      ...(isFirst ? { ...treeMetrics(trees), ...worth(training, growth, trees), ...metrics } : {}),
      ...trained,
      'live-tensors': training.service.counters().liveTensors ?? 0,
      'rss-mebibytes': process.memoryUsage.rss() / 2 ** 20,
      'play-seconds': playSeconds,
      seconds: (performance.now() - started) / 1000,
    };
  };
}

function growthOf(
  training: Training,
  options: MaltOptions,
  { round, firstStep }: { readonly round: number; readonly firstStep: number },
) {
  const { branching, leavesPerQuestion, unanimousAfter } = options;
  const count = options.questions ?? training.tasks.length;
  const depth = agentNames(training.team).length;
  return {
    scope: String(firstStep),
    tasks: distinctTasks(training, { position: (round - 1) * count, count }),
    judge: options.judge,
    expansion: {
      branching: typeof branching === 'number' ? Array(depth).fill(branching) : branching,
      order: options.expansion,
      ...(leavesPerQuestion === undefined ? {} : { budget: leavesPerQuestion }),
      ...(unanimousAfter === undefined ? {} : { unanimousAfter }),
    } as const,
  };
}

/** A question has one tree in a round, even where the round crosses into the next pass over the questions. */
function distinctTasks(
  { tasks, settings }: Training,
  span: { readonly position: number; readonly count: number },
) {
  const taken = tasksFrom(tasks, settings.seed, span);
  return [...new Map(taken.map((task) => [task.id, task])).values()];
}

type Lesson = {
  readonly options: MaltOptions;
  readonly trees: readonly QuestionTree[];
  readonly roles: ReadonlyMap<string, RoleSets>;
  readonly step: number;
};

async function teachExamples(training: Training, lesson: Lesson): Promise<Metrics> {
  const { settings, watch } = training;
  const metrics: Record<string, number> = {};
  for (const [policy, agents] of agentsByPolicy(training)) {
    const examples = agents.flatMap((agent) => lesson.roles.get(agent)?.examples ?? []);
    const trained = await trainOnExamples(policy, examples, {
      ...lesson.options.sft,
      adam: settings.update.adam,
      seed: seedFor(settings.seed, 'examples', lesson.step, policy.id),
      onStep: (done, of) => watch.waiting(`examples for ${policy.id}`, done, of),
    });
    for (const [name, value] of Object.entries(trained)) metrics[`${name}/${policy.id}`] = value;
  }
  if (Object.keys(metrics).length === 0) throw nothingToLearn(training, lesson);
  return metrics;
}

async function teachPairs(training: Training, lesson: Lesson): Promise<Metrics> {
  const { settings, watch, team } = training;
  const { agents: chosen = agentNames(team).slice(1), ...dpo } = lesson.options.dpo;
  const metrics: Record<string, number> = {};
  for (const [policy, agents] of agentsByPolicy(training)) {
    const own = agents.filter((agent) => chosen.includes(agent));
    const pairs = own.flatMap((agent) => lesson.roles.get(agent)?.pairs ?? []);
    const trained = await trainOnPairs(policy, pairs, {
      ...dpo,
      adam: settings.update.adam,
      seed: seedFor(settings.seed, 'pairs', lesson.step, policy.id),
      onStep: (done, of) => watch.waiting(`preferences of ${policy.id}`, done, of),
    });
    for (const [name, value] of Object.entries(trained)) metrics[`${name}/${policy.id}`] = value;
  }
  return metrics;
}

/** Policy gradients with the backed-up values as rewards, through `credit` and `update`, in place of examples and pairs. */
function teachValues(training: Training, { trees, step }: Lesson): Promise<Metrics> {
  const values = trees.flatMap((tree) => [...tree.values]);
  const rewards = new Map(values.map(([id, { value }]) => [id, value]));
  const trajectories = trees.flatMap((tree) => withoutRepeats(tree.trajectories));
  return learnFrom(training, step, {
    trajectories,
    assign: (evidence) =>
      assignCredit(
        { ...training.settings.credit, credit: 'method' },
        { trajectories, feedback: new Map(), outcomes: new Map(), rewards, ...evidence },
      ),
  });
}

/** An action that several plays share stays in the first of them that did not break. */
function withoutRepeats(trajectories: readonly Trajectory[]): Trajectory[] {
  const seen = new Set<string>();
  return trajectories.flatMap((trajectory) => {
    if (trajectory.failure) return [];
    const actions = trajectory.actions.filter(({ id }) => !seen.has(id));
    for (const { id } of actions) seen.add(id);
    return { ...trajectory, actions };
  });
}

/** A round without a single positive action has taught nobody anything; a checkpoint of it would look like training. */
function nothingToLearn(training: Training, { roles, step }: Lesson): BoundaryError {
  const trained = [...agentsByPolicy(training).values()].flat();
  const nodes = trained.flatMap((agent) => roles.get(agent)?.nodes ?? []);
  const positive = nodes.filter(({ isPositive }) => isPositive);
  const cut = positive.filter(({ dropped }) => dropped === 'truncated').length;
  if (cut > 0 && cut === positive.length) {
    return new BoundaryError(
      'credit',
      `all ${cut} positive actions of step ${step} were cut off at their limit and are no examples: start a new run with a larger maxTokens (or rollout.maxActionTokens), or with method.select.dropTruncated=false`,
    );
  }
  return new BoundaryError(
    'credit',
    `the trees of step ${step} hold no positive action of any trained agent: start a new run with easier questions, a better model or a lower method.select.threshold`,
  );
}

function treeMetrics(trees: readonly QuestionTree[]): Metrics {
  const trajectories = trees.flatMap((tree) => tree.trajectories);
  const actions = trees.flatMap((tree) => distinctActions(tree.trajectories));
  const values = trees.flatMap(({ value }) => value ?? []);
  return {
    questions: trees.length,
    plays: trajectories.length,
    failed: trajectories.filter(({ failure }) => failure).length,
    'sampled-tokens': actions.reduce((sum, { tokens }) => sum + tokens.length, 0),
    'silent-questions': values.filter((value) => value === 0 || value === 1).length,
  };
}

/** `accuracy`, by grades alone, and where a coach judges the leaves `leaf-value` (0 to 1): means over the questions. */
function worth(
  { run }: Training,
  { scope, judge }: ReturnType<typeof growthOf>,
  trees: readonly QuestionTree[],
): Metrics {
  const values = trees.flatMap(({ value }) => value ?? []);
  if (judge === 'outcome') return meanMetric('accuracy', values);
  const outcomes = run.outcomesOf(scope);
  const shares = trees.flatMap(({ trajectories }) => {
    const graded = trajectories.flatMap(({ id }) => outcomes.get(id) ?? []);
    const right = graded.filter(({ correct }) => correct).length;
    return graded.length === 0 ? [] : right / graded.length;
  });
  return { ...meanMetric('accuracy', shares), ...meanMetric('leaf-value', values) };
}

function meanMetric(name: string, values: readonly number[]): Metrics {
  if (values.length === 0) return {};
  return { [name]: values.reduce((sum, value) => sum + value, 0) / values.length };
}
