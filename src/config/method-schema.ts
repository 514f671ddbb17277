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

const methods = z.discriminatedUnion(
  'kind',
  [mappaMethod, maporlMethod],
  'expected mappa or maporl',
);

/** Who plays, who judges and what is trained on: a method with its options, or its bare name for the defaults. */
export const methodSchema = z.preprocess(
  (value) => (typeof value === 'string' ? { kind: value } : value),
  methods,
);

/** A method as a run works with it, every option resolved. */
export type MethodChoice = z.output<typeof methodSchema>;

/** A method as a config names it. */
export type MethodInput = MethodChoice['kind'] | z.input<typeof methods>;
