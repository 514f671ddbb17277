import { z } from 'zod';

const mappaMethod = z.strictObject({ kind: z.literal('mappa') });

const bonus = z.number().nonnegative().default(0);

const maporlMethod = z.strictObject({
  kind: z.literal('maporl'),
  /** Who says how good an answer is: the grader against ground truth, or the run's coach. */
  verifier: z.enum(['grade', 'coach']).default('grade'),
  /** What a turn's verdicts count beside those of the turn before it; 0.3 in every published configuration. */
  turnDiscount: z.number().min(0).max(1).default(0.3),
  /** Bonuses for changing one's mind (a) and the others' (b) from wrong to right; the opposite costs as much. */
  incentives: z.strictObject({ a0: bonus, a1: bonus, b0: bonus, b1: bonus }).prefault({}),
  /** `inverted`: as the published code has it, against its paper. */
  influenceSign: z.enum(['paper', 'inverted']).default('paper'),
  /** Where as many others are right as wrong: no bonus, or they count as wrong. */
  ties: z.enum(['silent', 'wrong']).default('silent'),
  /** Agent → whose verdicts pay it, with which weight; absent = the paper's common interest. */
  payoffs: z.record(z.string(), z.record(z.string(), z.number())).optional(),
  /** Steps in which the last turn alone is trained, then the last two, and so on; 0 = all from the start. */
  backwardSteps: z.int().nonnegative().default(0),
  /** A value head for every policy, and PPO's advantages against it; false = `credit.estimator`. */
  critic: z
    .union([
      z.literal(false),
      z.strictObject({
        /** λ of generalised advantages. */
        lambda: z.number().min(0).max(1).default(0.95),
        /** Weight of the critic's loss beside the policy's. */
        coefficient: z.number().positive().default(0.1),
        /** How far a prediction may move in a step before it counts for no more. */
        clip: z.number().positive().default(0.2),
      }),
    ])
    .prefault({}),
});

const count = z.int().positive();
const positive = z.number().positive();
const share = z.number().min(0).max(1);

/** Learning rate, passes over the training set, and examples or pairs of one optimiser step. */
const passes = (learningRate: number, epochs: number) => ({
  learningRate: positive.default(learningRate),
  epochs: count.default(epochs),
  batchSize: count.default(32),
});

/** Options of MALT. */
export const maltMethod = z.strictObject({
  kind: z.literal('malt'),
  /** Trees are grown, and the team trained on them, so many times. */
  rounds: count.default(1),
  /** Questions of one round; absent = all. */
  questions: count.optional(),
  /** Ways to go on at every action, or at the first, the second, …; where an array ends there is one. */
  branching: z.union([count, z.array(count).nonempty()]).default(3),
  /** `full`, or `best-first`: one leaf at a time, where the value is high or little is known. */
  expansion: z.enum(['full', 'best-first']).default('full'),
  /** Most plays of one question; absent = the whole tree. */
  leavesPerQuestion: count.optional(),
  /** After so many leaves of equal value a question is given up; absent = never. */
  unanimousAfter: z.int().min(2).optional(),
  /** Who says what a leaf is worth: the grade of its answer, or the coach's points for its last action. */
  judge: z.enum(['outcome', 'coach']).default('outcome'),
  select: z
    .strictObject({
      /** θ: an action worth more is positive; `question`: the mean of its question's plays. */
      threshold: z.union([share, z.literal('question')]).default(0.5),
      /** Least difference of the values of a pair. */
      margin: share.default(0),
      /** Siblings with equal tokens share the mean value of their leaves. */
      poolIdentical: z.boolean().default(false),
      /** One example for each context and text; the paper keeps a multiset. */
      distinctExamples: z.boolean().default(false),
      /** Leaves out examples, and preferred answers, that were cut off by their length. */
      dropTruncated: z.boolean().default(true),
      /** Most examples, or pairs, of one agent from one question; absent = all. */
      examplesPerQuestion: count.optional(),
      pairsPerQuestion: count.optional(),
    })
    .prefault({}),
  /** `sft-dpo`, `sft`, or `values`: policy gradients with the backed-up values as rewards. */
  objective: z.enum(['sft-dpo', 'sft', 'values']).default('sft-dpo'),
  sft: z.strictObject(passes(3e-4, 2)).prefault({}),
  dpo: z
    .strictObject({
      ...passes(1e-4, 4),
      beta: positive.default(0.2),
      /** Weight of the preferred answers' cross-entropy per token; 0 = the paper's loss. */
      anchor: z.number().nonnegative().default(1),
      /** Mean log-ratio of preferred answers over an epoch, nats, below which the run stops. */
      collapseBelow: z.number().negative().default(-0.5),
      /** Agents trained on preferences; absent = all but the first. */
      agents: z.array(z.string()).optional(),
    })
    .prefault({}),
});

const methods = z.discriminatedUnion(
  'kind',
  [mappaMethod, maporlMethod, maltMethod],
  'expected mappa, maporl or malt',
);

/** Who plays, who judges and what is trained on: a method with its options, or its bare name for the defaults. */
export const methodSchema = z.preprocess(
  (value) => (typeof value === 'string' ? { kind: value } : value),
  methods,
);

/** A method as a run works with it, every option resolved. */
export type MethodChoice = z.output<typeof methodSchema>;

type MaporlInput<Agent extends string> = Omit<z.input<typeof maporlMethod>, 'payoffs'> & {
  readonly payoffs?: Readonly<Partial<Record<Agent, Readonly<Partial<Record<Agent, number>>>>>>;
};

type MaltInput<Agent extends string> = Omit<z.input<typeof maltMethod>, 'dpo'> & {
  readonly dpo?: Omit<NonNullable<z.input<typeof maltMethod>['dpo']>, 'agents'> & {
    readonly agents?: readonly Agent[];
  };
};

/** A method as a config names it, for a team of these agents. */
export type MethodInput<Agent extends string = string> =
  | MethodChoice['kind']
  | z.input<typeof mappaMethod>
  | MaporlInput<Agent>
  | MaltInput<Agent>;

/** MALT (arXiv 2412.01928): trees of plays, their values backed up, then SFT and DPO for each role. */
export function malt<const Agent extends string = never>(
  options: Omit<MaltInput<Agent>, 'kind'> = {},
): MaltInput<NoInfer<Agent>> {
  return { kind: 'malt', ...options };
}
