import { createRandom, seedFor } from '../random.ts';
import type { Blame, Coach, CoachRequest, Feedback } from '../types/feedback.ts';

/** What a rule says about one action: points 0–10 with a reason, or why it cannot judge. */
export type RuleVerdict =
  | {
      readonly score: number;
      readonly reason: string;
      readonly blame: Blame;
      readonly blamedAgent?: string;
    }
  | { readonly unscored: string };

export type RuleCoachOptions = {
  readonly name: string;
  readonly judge: (request: CoachRequest) => RuleVerdict;
  /** Probability that a score s becomes 10 − s, decided by the action's id: an unreliable coach. Default 0. */
  readonly flipProbability?: number;
  /** Agent → the score it always gets whatever it does: a coach with a systematic bias. */
  readonly fixedScores?: Readonly<Record<string, number>>;
  /** Of the flips. Default 0. */
  readonly seed?: number;
};

/** A coach that is a plain function: no model, no cost, the same verdict every time. */
export function createRuleCoach(options: RuleCoachOptions): Coach {
  let calls = 0;
  return {
    name: options.name,
    score: async (request) => {
      calls++;
      return scoreAction(options, request);
    },
    usage: () => ({ calls, inputTokens: 0, outputTokens: 0 }),
  };
}

function scoreAction(options: RuleCoachOptions, request: CoachRequest): Feedback {
  const { id: actionId, agent } = request.action;
  const verdict = options.judge(request);
  if ('unscored' in verdict) return { kind: 'unscored', actionId, cause: verdict.unscored };
  const fixed = options.fixedScores?.[agent];
  if (fixed !== undefined) {
    const reason = `Always ${fixed} for ${agent}, whatever it does (a biased coach).`;
    return { kind: 'scored', actionId, score: fixed, reason, blame: 'none' };
  }
  if (isFlipped(options, actionId)) {
    const reason = `Turned round on purpose (an unreliable coach): ${verdict.reason}`;
    return { kind: 'scored', actionId, ...verdict, score: 10 - verdict.score, reason };
  }
  return { kind: 'scored', actionId, ...verdict };
}

function isFlipped({ flipProbability = 0, seed = 0 }: RuleCoachOptions, actionId: string): boolean {
  return createRandom(seedFor('flip', seed, actionId)).uniform() < flipProbability;
}
