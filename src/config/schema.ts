import type { LanguageModel } from 'ai';
import { z } from 'zod';
import type { Team } from '../rollout/team.ts';
import type { Coach, CoachRequest } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { Tool, ToolSource } from '../types/tool.ts';
import { type MethodInput, methodSchema } from './method-schema.ts';
import { sandboxSchema } from './sandbox-schema.ts';
import { sampler, service } from './service-schema.ts';
import { team } from './team-schema.ts';

const positive = z.number().positive();
const count = z.int().positive();
const share = z.number().min(0).max(1);

/** A coach as a plain function: points 0–10, or a reason why there are none. */
export type CoachFunction = (request: CoachRequest) => Promise<CoachVerdict> | CoachVerdict;
export type CoachVerdict =
  | number
  | { readonly score: number; readonly reason: string }
  | { readonly unscored: string };

/** A language model object of the AI SDK. */
export type LanguageModelObject = Exclude<LanguageModel, string>;

/** Who may be named as coach; the word `none` for nobody. */
export type CoachChoice = string | Coach | CoachFunction | LanguageModelObject;

/** What `coach` must be where a method asks one. */
export const coachExpectation =
  'expected a model name such as "google/gemini-2.5-flash", an AI SDK model, a coach, or a function';

const coach = z.custom<CoachChoice>(
  (value) =>
    (typeof value === 'string' && (value.includes('/') || value === 'none')) ||
    typeof value === 'function' ||
    (typeof value === 'object' && value !== null && ('score' in value || 'modelId' in value)),
  coachExpectation,
);

const task = z.looseObject({
  id: z.string().min(1),
  prompt: z.string().min(1),
  answer: z.string().optional(),
});

/** A task file, or the tasks themselves. */
type TaskSource = string | readonly Task[];

const taskSource = z
  .custom<TaskSource>((value) => typeof value === 'string' || isFilled(value), {
    message: 'expected the path of a task file, or an array of tasks',
    abort: true,
  })
  .superRefine((source, context) => {
    if (typeof source === 'string') return;
    const parsed = z.array(task).safeParse(source);
    for (const { path, message } of parsed.error?.issues ?? []) {
      context.addIssue({ code: 'custom', path: [...path], message });
    }
    const ids = source.map(({ id }) => id);
    const twice = ids.find((id, index) => ids.indexOf(id) !== index);
    if (twice === undefined || !parsed.success) return;
    context.addIssue({ code: 'custom', message: `two tasks have the id ${twice}` });
  });

function isFilled(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}

/** Tasks to evaluate on: one set without a name, or several by name. */
export type HeldOutChoice = TaskSource | Readonly<Record<string, TaskSource>>;

const heldOut = z
  .custom<HeldOutChoice>(
    (value) => typeof value === 'string' || isFilled(value) || isNamedSets(value),
    'expected the path of a task file, an array of tasks, or several of them by name',
  )
  .superRefine((choice, context) => {
    for (const { name, source } of heldOutSets(choice)) {
      const place = name === undefined ? [] : [name];
      if (!/^[\w.-]+$/.test(name ?? 'set')) {
        const message = 'expected letters, digits, dots and dashes in the name of a set';
        context.addIssue({ code: 'custom', path: place, message });
      }
      for (const { path, message } of taskSource.safeParse(source).error?.issues ?? []) {
        context.addIssue({ code: 'custom', path: [...place, ...path], message });
      }
    }
  });

function isNamedSets(value: unknown): value is Readonly<Record<string, TaskSource>> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && Object.keys(value).length > 0;
}

/** The sets of a choice: those named, or a single one without a name. */
export function heldOutSets(
  choice: HeldOutChoice,
): readonly { readonly name?: string; readonly source: TaskSource }[] {
  if (!isNamedSets(choice)) return [{ source: choice }];
  return Object.entries(choice).map(([name, source]) => ({ name, source }));
}

const model = z.strictObject({
  /** Hugging Face folder: config.json, *.safetensors, tokenizer.json, chat template. */
  path: z.string(),
  /** Agent → folder of another model that it plays; absent = all play the same. */
  agents: z.record(z.string(), z.string()).optional(),
  /** Where tensors live. */
  device: z
    .string()
    .regex(/^(cpu|cuda(:\d+)?)$/, 'expected cpu, cuda or cuda:N')
    .default('cpu'),
  dtype: z.enum(['float32', 'bfloat16', 'float16']).default('float32'),
  /** Threads of the engine; absent = all cores. Results are bit-equal only at equal thread counts. */
  threads: count.optional(),
  /** Most actions sampled in one batch; bounds the cache. */
  maxRows: count.default(64),
  /** Most tokens of one forward and backward pass; bounds memory. */
  microBatchTokens: count.default(8192),
  /** Trades a third more work in training for the memory of activations. */
  gradientCheckpointing: z.boolean().default(false),
  /** Records decode steps on the device and does them again, where libtorch has graphs for it. */
  decodeGraphs: z.boolean().default(false),
});

const adapter = z.strictObject({
  /** LoRA rank of every agent's adapter (Hu et al. 2021). */
  rank: count.default(8),
  /** Scale of the adapter is alpha/rank. */
  alpha: positive.default(16),
  /** Modules that get LoRA; absent = every linear one. */
  targets: z
    .array(z.enum(['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']))
    .nonempty()
    .optional(),
  /** All agents play and train one adapter. */
  shared: z.boolean().default(false),
});

function isTool(value: unknown): boolean {
  const isNamed = typeof value === 'object' && value !== null && 'name' in value;
  return isNamed && ('run' in value || 'open' in value);
}

const ownTool = z.custom<Tool | ToolSource>(
  isTool,
  'expected what defineTool or mcpServer returned',
);

const rollout = z.strictObject({
  tasksPerStep: count.default(16),
  samplesPerTask: count.default(2),
  /** 1 = the policy itself; anything else is off-policy, see `update.behaviourRatioLimit`. */
  temperature: positive.default(1),
  /** Filters of sampling after the temperature; absent = none. */
  topK: count.optional(),
  topP: z.number().gt(0).max(1).optional(),
  minP: share.optional(),
  /** Steps that plays may lag behind the policies that learn from them: they are collected while earlier steps train. */
  maxStalenessSteps: z.int().nonnegative().default(0),
  /** Plays at once. */
  concurrency: count.default(64),
  playTimeoutSeconds: positive.default(600),
  /** Most tokens of one action, where that is less than the agent's own limit. */
  maxActionTokens: count.optional(),
  /** Most actions of one play. */
  maxActions: count.default(100),
  /** A step with a larger share of broken plays stops the run. */
  failedShareLimit: share.default(0.25),
  /** Seconds on the clock one tool call may take. */
  toolTimeoutSeconds: positive.default(30),
  /** Tool interpreters running at once. */
  toolWorkers: count.default(1),
  /** Where agents' programs run. */
  sandbox: sandboxSchema.default('pyodide'),
});

const coaching = z.strictObject({
  concurrency: count.default(16),
  /** Deadline of one verdict, retries included. */
  timeoutSeconds: positive.default(60),
  /** Tries of one call when it fails in passing (429, 5xx, connection resets). */
  maxAttempts: count.default(5),
  /** Shows the coach the task's ground truth, always or for the agents named. The method needs none. */
  showAnswer: z.union([z.boolean(), z.array(z.string())]).default(false),
  /** Shows the coach how the play went on and ended by rule, or only the former; verdicts then wait for the end of the play. */
  showOutcome: z
    .union([z.boolean(), z.literal('play')], 'expected true, false or play')
    .default(false),
  /** A step with a larger share of unscored actions stops the run. */
  unscoredShareLimit: share.default(0.25),
  /** A Markdown file of yours with named slots, or `mathchat`, `dsbench` or `discussion`. */
  rubric: z.string().default('mathchat'),
  /** Most tokens of one reply, reasoning included. */
  maxReplyTokens: count.default(8192),
  /** An outage of the coach that lasts longer stops the run, resumably. */
  outageSeconds: positive.default(600),
  budget: z
    .strictObject({
      /** Calls of the coach in the whole run. */
      calls: count.optional(),
      /** US dollars for the coach in the whole run. */
      usd: positive.optional(),
      /** `pause` stops the run, resumably; `outcome` goes on with the plays' grades as rewards. */
      whenSpent: z.enum(['pause', 'outcome']).default('pause'),
    })
    .prefault({}),
  /** Coach → USD per million tokens, over the built-in list prices. */
  prices: z
    .record(z.string(), z.strictObject({ input: z.number().min(0), output: z.number().min(0) }))
    .optional(),
  /** File of verdicts that need not be paid twice; absent = in the run's folder, false = none. */
  cache: z.union([z.string(), z.literal(false)]).optional(),
});

const credit = z.strictObject({
  /** What an action is rewarded with: its own score, or the play's final grade. */
  source: z.enum(['coach', 'outcome']).default('coach'),
  /** How rewards become advantages; MAPPA's is reinforce-plus-plus. */
  estimator: z
    .enum(['reinforce-plus-plus', 'reinforce', 'reinforce-baseline', 'rloo', 'grpo'])
    .default('reinforce-plus-plus'),
  /** β of the per-token k1 penalty against the base, in reward units per nat. */
  klCoefficient: z.number().nonnegative().default(0.01),
  /** Discount within an action. */
  gamma: z.number().min(0).max(1).default(1),
  /** Rewards that differ less than this (standard deviation) carry no signal and give no credit. */
  sigmaFloor: z.number().nonnegative().default(1e-4),
});

const update = z.strictObject({
  learningRate: positive.default(1e-5),
  schedule: z.enum(['constant', 'linear', 'cosine']).default('constant'),
  warmupSteps: z.int().nonnegative().default(0),
  epochs: count.default(1),
  /** Optimiser steps per pass over a step's actions. */
  miniBatches: count.default(1),
  /** What is minimised (docs/math.md); MAPPA's is ppo. */
  loss: z.enum(['ppo', 'cispo', 'gspo', 'importance_sampling']).default('ppo'),
  /** Absolute bounds of the importance ratio. */
  clipLow: positive.max(1).default(0.8),
  clipHigh: positive.min(1).default(1.2),
  /** Of ppo: bounds the loss of a punished token at this times its advantage; absent = no bound. */
  dualClip: z.number().gt(1).optional(),
  /** Weight of the divergence from the base in the loss, besides `credit.klCoefficient` in the reward. */
  klCoefficient: z.number().nonnegative().default(0),
  klEstimator: z.enum(['k1', 'k2', 'k3']).default('k3'),
  /** Weight of the entropy bonus in the loss. */
  entropyCoefficient: z.number().nonnegative().default(0),
  /**
   * Where temperature or filters make the sampled distribution another than the policy's, tokens are weighted with the
   * ratio of the two, at most this.
   */
  behaviourRatioLimit: positive.default(2),
  /** Whether every token or every action counts the same. */
  average: z.enum(['token', 'action']).default('token'),
  beta1: share.default(0.9),
  beta2: share.default(0.95),
  eps: positive.default(1e-8),
  weightDecay: z.number().nonnegative().default(0),
  /** Global norm that gradients are scaled down to; false = they are not. */
  maxGradNorm: z.union([positive, z.literal(false)]).default(1),
  /** Nats by which sampler and trainer may differ before a step's first update. */
  logprobGapLimit: positive.default(1e-3),
});

const fair = z.strictObject({
  /** What a dsbench play without a usable submission counts as: a share, or that of the commonest label. */
  accuracy: z.union([share, z.literal('majority')]).default(0.5),
  f1: share.default(0),
  /** Percent of the target's range, or that of predicting the mean. */
  rmsePercent: z.union([z.number().nonnegative(), z.literal('mean')]).default('mean'),
});

const training = z.strictObject({
  steps: count.default(100),
  /** Checkpoints kept, newest first; two are needed to resume after any crash. */
  keepCheckpoints: z.int().min(2).default(3),
  /** Agents that play as the base model does and are not trained; absent = none. */
  frozen: z.array(z.string()).optional(),
});

const evaluation = z.strictObject({
  /** Evaluate on the held-out tasks after every this many steps; 0 = only before and after. */
  every: z.int().nonnegative().default(0),
  samplesPerTask: count.default(1),
  /** 0 = greedy. */
  temperature: z.number().nonnegative().default(1),
});

/** Every knob, once: unit, default and reason. */
export const runSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]+$/, 'expected letters, digits, dots and dashes'),
  seed: z.int().nonnegative().default(1),
  /** Folder of the run; default `runs/<name>`. */
  output: z.string().optional(),
  team,
  /** A variant that the team declares, for example of fewer agents. */
  variant: z.string().optional(),
  model,
  /** Where policies are sampled and trained; `model` is where its tokenizer is, wherever that is. */
  service: service.default('local'),
  /** Who samples: the same service, or vLLM beside an engine of this process. */
  sampler: sampler.default('service'),
  adapter: adapter.prefault({}),
  tasks: z.strictObject({
    /** A JSON or JSON Lines file, or the tasks themselves. */
    train: taskSource,
    /** Train on so many of them, drawn as MAPPA drew its 512; absent = on all. */
    sample: count.optional(),
    heldOut: heldOut.optional(),
    /** What tasks are and how their answers are graded. */
    kind: z.enum(['math', 'dsbench']).default('math'),
    /** Of dsbench: folder of `data_resplit` and `answers`; absent = beside each file. */
    tables: z.string().optional(),
    /** Every step holds the tasks' kinds (their first tag) in the proportions of the whole. */
    stratify: z.boolean().default(false),
  }),
  /** Absent only where the method asks none. */
  coach: coach.default('none'),
  /** Who plays, who judges and what is trained on. */
  method: methodSchema.default({ kind: 'mappa' }),
  coaching: coaching.prefault({}),
  /** Tools besides `python` that agents may name. */
  tools: z.array(ownTool).optional(),
  rollout: rollout.prefault({}),
  credit: credit.prefault({}),
  update: update.prefault({}),
  training: training.prefault({}),
  evaluation: evaluation.prefault({}),
  fair: fair.prefault({}),
});

type Raw = z.input<typeof runSchema>;
type Section<Name extends keyof Raw> = NonNullable<Raw[Name]>;

/** Keys that name agents. */
type AgentKeys<Agent extends string> = {
  readonly method?: MethodInput<Agent>;
  readonly model: Omit<Raw['model'], 'agents'> & {
    readonly agents?: Readonly<Partial<Record<Agent, string>>>;
  };
  readonly coaching?: Omit<Section<'coaching'>, 'showAnswer'> & {
    readonly showAnswer?: boolean | readonly Agent[];
  };
  readonly training?: Omit<Section<'training'>, 'frozen'> & {
    readonly frozen?: readonly Agent[];
  };
};

/** What a user writes for a team of these agents: only what differs from the defaults. */
export type RunInput<Agent extends string = string> = Omit<Raw, keyof AgentKeys<Agent>> &
  AgentKeys<Agent>;

/** What a run works with: every key resolved. */
export type RunConfig = z.output<typeof runSchema>;

/** Nothing to be asked of a team whose tools are all there; names that an editor knows only as texts are let pass. */
type Equipped<Wanted extends string, Given extends string> = string extends Wanted
  ? unknown
  : [Exclude<Wanted, 'python' | Given>] extends [never]
    ? unknown
    : { readonly 'the key tools lacks': Exclude<Wanted, 'python' | Given> };

/**
 * Declares a run in `teamtune.config.ts`, typed end to end: keys that name agents know those of the team and its variants,
 * and a tool that an agent names must be `python` or one of the key `tools`.
 */
export function defineRun<
  const Name extends string,
  const Wanted extends string,
  const Variant extends string,
  const Given extends string = never,
>(
  run: RunInput<NoInfer<Name | Variant>> & {
    readonly team: Team<Name, Wanted, Variant> & Equipped<NoInfer<Wanted>, NoInfer<Given>>;
    readonly tools?: readonly (Tool<Given> | ToolSource<Given>)[] | undefined;
  },
): RunInput {
  return run;
}
