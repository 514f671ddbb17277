import type PQueue from 'p-queue';
import type { CreditOptions } from '../credit/assign-credit.ts';
import type { Stage } from '../rollout/play-task.ts';
import type { Team } from '../rollout/team.ts';
import type { Run } from '../run/run-store.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Coach, Feedback, Hindsight, Outcome } from '../types/feedback.ts';
import type { Metrics } from '../types/metrics.ts';
import type { WorkspaceFiles, Workspaces } from '../types/sandbox.ts';
import type { Task } from '../types/task.ts';
import type { Tool } from '../types/tool.ts';
import type { Policy, SampleFilters, Sampler, TrainingService } from '../types/training-service.ts';
import type { Trajectory } from '../types/trajectory.ts';
import type { UpdateOptions } from '../update/update-policy.ts';

/** Everything a method works with, alive and chosen; methods know no config and no implementation. */
export type Training = {
  readonly run: Run;
  readonly team: Team;
  readonly service: TrainingService;
  readonly tokenizer: Tokenizer;
  /** Agents that play another model than the run's; absent = none does. */
  readonly ownModels?: ReadonlyMap<string, OwnModel>;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly workspaces: Workspaces;
  /** Agent name → its policy; agents that share one are all mapped to it. */
  readonly policies: ReadonlyMap<string, Policy>;
  /** The base model with an adapter that is never trained: the policy that KL is measured against. */
  readonly reference: Policy;
  readonly coach: Coach;
  /** Grade of a finished play's answer against ground truth; absent where the task has none. */
  readonly grade: GradeAnswer;
  /** Of a play by the files it leaves, where those and not the answer tell. */
  readonly gradeFiles?: GradeFiles;
  readonly tasks: readonly Task[];
  readonly heldOut: readonly HeldOutSet[];
  readonly settings: Settings;
  readonly watch: Watch;
  /** Plays of coming steps while earlier ones train; absent = every step plays its own when it begins. */
  readonly ahead?: PlaysAhead;
  /** Lets so many actions be in judgement at a time where plays of several steps are; absent = each scope counts its own. */
  readonly judging?: PQueue;
  /** The policies as a step left them (0 = before the first), from its checkpoint; undefined when that is gone. */
  readonly publishedAfter?: (step: number) => Promise<Published | undefined>;
};

/** Samplers of every agent's policy, and the step that left the policies so; `close` when no play needs them any more. */
export type Published = {
  readonly after: number;
  readonly samplers: ReadonlyMap<string, Sampler>;
  readonly close: () => Promise<void>;
};

/** What a step's plays came to, and how they came about. */
export type StepPlays = {
  readonly judged: Judged;
  /** By action id: log-probability of every sampled token under the reference. */
  readonly referenceLogprobs: ReadonlyMap<string, Float32Array>;
  /** Training steps that lie between the policies that played and those that learn from it. */
  readonly staleness: number;
  /** Actions that an interrupted process had played. */
  readonly replayed: number;
  readonly seconds: number;
};

/** Plays one step. */
export type PlayStep = (
  training: Training,
  at: {
    readonly step: number;
    readonly staleness: number;
    readonly samplers: ReadonlyMap<string, Sampler>;
    /** Ends the plays when the run ends. */
    readonly signal?: AbortSignal;
    /** Called when every play has ended, though verdicts may be under way. */
    readonly onPlayed?: () => void;
  },
) => Promise<StepPlays>;

export type PlaysAhead = {
  /** The plays of a step; those of later steps are started where the policies that are to play them are there. */
  readonly take: (step: number, play: PlayStep) => Promise<StepPlays>;
  /** Ends what is under way, unrecorded, and waits for its end. */
  readonly close: () => Promise<void>;
};

export type GradeAnswer = (task: Task, trajectory: Trajectory) => Outcome | undefined;

/** @param files of the play at its end; absent = none, as of a play that broke */
export type GradeFiles = (
  task: Task,
  trajectory: Trajectory,
  files?: WorkspaceFiles,
) => Promise<Outcome>;

/** A model that single agents play, with its own reference for KL. */
export type OwnModel = {
  readonly service: TrainingService;
  readonly tokenizer: Tokenizer;
  readonly reference: Policy;
};

/** Tasks that are only evaluated on; a name where there are several such sets. */
export type HeldOutSet = { readonly name?: string; readonly tasks: readonly Task[] };

/** The numbers of a run. */
export type Settings = {
  readonly seed: number;
  readonly steps: number;
  readonly tasksPerStep: number;
  readonly samplesPerTask: number;
  /** Training steps that a step's plays may lag behind the policies that learn from them. */
  readonly maxStalenessSteps: number;
  /** Every step holds the tasks' first tags in proportion. */
  readonly stratify?: boolean;
  readonly temperature: number;
  /** What may be sampled while training; evaluations sample unfiltered. */
  readonly filters?: SampleFilters;
  readonly concurrency: number;
  readonly playTimeoutMs: number;
  readonly maxActionTokens: number;
  readonly maxActions: number;
  /** Agents whose policy is not updated. */
  readonly frozen: readonly string[];
  /** Whether evaluations grade and record what every agent answered at every turn, not only the team's answer. */
  readonly gradesEveryAnswer: boolean;
  /** The run stops when a larger share of a step's plays failed. */
  readonly failedShareLimit: number;
  /** The run stops when a larger share of a step's actions got no score. */
  readonly unscoredShareLimit: number;
  /** Actions in judgement at a time. */
  readonly coachConcurrency: number;
  /** What the coach sees of how a play went on and ended. */
  readonly showOutcome: Hindsight;
  /** Largest log-probability difference between sampler and trainer that a step accepts, nats. */
  readonly logprobGapLimit: number;
  readonly credit: CreditOptions;
  readonly update: Omit<UpdateOptions, 'seed' | 'logprobGapLimit'>;
  readonly learningRateAt: (step: number) => number;
  /** Updates all policies at a time, which pays where each waits for a server; absent = one after another. */
  readonly updatesTogether?: boolean;
  readonly evaluation: {
    /** Evaluate after every this many steps; 0 = only before and after. */
    readonly every: number;
    readonly samplesPerTask: number;
    readonly temperature: number;
  };
};

/** What a scope's plays came to. */
export type Judged = {
  /** In the order of the requests. */
  readonly trajectories: readonly Trajectory[];
  /** By trajectory id; absent where there is no ground truth or the play failed. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** By action id; empty when no coach was asked. */
  readonly feedback: ReadonlyMap<string, Feedback>;
};

/** What a run tells whoever watches it; everything is optional to listen to. */
export type Watch = {
  /** What the run is waiting for now, with how much of it is done. */
  readonly waiting: (what: string, done: number, of: number) => void;
  readonly step: (step: number, metrics: Metrics) => void;
  readonly evaluated: (name: string, metrics: Metrics) => void;
  readonly note: (text: string) => void;
};

/** One training step of a method: plays, judges, credits and updates; returns the step's metrics. */
export type Method = (training: Training, step: number) => Promise<Metrics>;

/** A stage before the coach's part and the end of the run are known. */
export type OpenStage = Omit<Stage, 'stop' | 'verdictOn' | 'onJudgeable' | 'onAnswer'>;

/** The stage for one scope of plays, with what an interrupted run had finished of it. */
export function createStage(
  training: Training,
  at: {
    readonly scope: string;
    readonly samplers: ReadonlyMap<string, Sampler>;
    readonly temperature: number;
    readonly filters?: SampleFilters;
  },
): OpenStage {
  const { run, settings, ownModels } = training;
  const own =
    ownModels && [...ownModels].map(([agent, { tokenizer }]) => [agent, tokenizer] as const);
  const finished = run.actionsOf(at.scope).map((action) => [action.id, action] as const);
  return {
    team: training.team,
    tokenizer: training.tokenizer,
    ...(own && { ownTokenizers: new Map(own) }),
    tools: training.tools,
    workspaces: training.workspaces,
    seed: settings.seed,
    playTimeoutMs: settings.playTimeoutMs,
    maxActionTokens: settings.maxActionTokens,
    maxActions: settings.maxActions,
    ...at,
    finished: new Map(finished),
    onAction: (action) => run.recordAction(at.scope, action),
  };
}

/** A sampler of every agent's policy as it is now. */
export async function publishAll(
  policies: ReadonlyMap<string, Policy>,
): Promise<ReadonlyMap<string, Sampler>> {
  const published = [...policies].map(
    async ([agent, policy]) => [agent, await policy.publish().result] as const,
  );
  return new Map(await Promise.all(published));
}
