import type { Task } from './task.ts';
import type { Action } from './trajectory.ts';

/** Who caused what went wrong in an action. */
export const blames = ['none', 'self', 'upstream', 'tool', 'task'] as const;
export type Blame = (typeof blames)[number];

/** A coach's verdict on one action, or the reason why there is none. Absence of a score is never a number. */
export type Feedback =
  | {
      readonly kind: 'scored';
      readonly actionId: string;
      /** Points, 0 (terrible) to 10 (perfect). */
      readonly score: number;
      readonly reason: string;
      readonly blame: Blame;
      /** The agent at fault when `blame` is `upstream`. */
      readonly blamedAgent?: string;
      /** What the coach, where it was shown the reference answer, says of the action's final answer; never a grade. */
      readonly answerCorrect?: boolean;
    }
  | {
      readonly kind: 'unscored';
      readonly actionId: string;
      /** Why there is no score, for example `timeout after 60 s`. */
      readonly cause: string;
    };

/** Grade of a trajectory's answer against ground truth. */
export type Outcome = {
  readonly trajectoryId: string;
  readonly correct: boolean;
  /** What the grader read out of the answer. */
  readonly extracted?: string;
  /** What else the grader measured, by name; evaluations give the mean of each. */
  readonly measures?: Readonly<Record<string, number>>;
};

/** What a coach looks at: one action, the task, and the actions played before it in the same trajectory. */
export type CoachRequest = {
  readonly task: Task;
  readonly action: Action;
  readonly earlier: readonly Action[];
  /** The play's grade by rule; absent unless the coach is to see it. */
  readonly outcome?: Outcome;
  /** What was played after the action, for a coach that sees how the play ended. */
  readonly later?: readonly Action[];
};

/** What a coach sees of how a play went on: nothing, what was played after the action, or that and the play's grade. */
export type Hindsight = false | 'play' | true;

/** What coaching has used so far. */
export type CoachUsage = {
  readonly calls: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Verdicts that needed no call. */
  readonly cached?: number;
  /** Known costs, USD; absent where no call had a price. */
  readonly usd?: number;
  /** Most that calls of unknown cost (aborted, killed) can have cost, USD. */
  readonly usdUnknown?: number;
};

/** An AI judge of single actions. It resolves to `unscored` rather than inventing a number. */
export type Coach = {
  readonly name: string;
  /** @throws BoundaryError("coach") only for what must stop the run: a bad key, an unknown model, a long outage, a spent budget */
  readonly score: (
    request: CoachRequest,
    options?: { readonly signal?: AbortSignal },
  ) => Promise<Feedback>;
  readonly usage: () => CoachUsage;
  /** Whether its budget is used up and the run is to go on without it. A run that is to pause is stopped by `score`. */
  readonly isSpent?: () => boolean;
};
