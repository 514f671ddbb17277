import { assignCredit, type Credit } from '../credit/assign-credit.ts';
import type { InfluenceOptions } from '../credit/influence-rewards.ts';
import { type DiscussionStatistics, discussionStatistics } from '../run/discussion-statistics.ts';
import type { Metrics } from '../types/metrics.ts';
import { isAskedIn, isSpent, refuseTooFewScores } from './coach-metrics.ts';
import { type Speech, speechesOf } from './discussion-answers.ts';
import { type RewardedAnswers, rewardDiscussions } from './discussion-rewards.ts';
import { type Evidence, policyGradientStep } from './policy-gradient-step.ts';
import type { Judged, Method, Training } from './training.ts';

export type MaporlOptions = InfluenceOptions & {
  /** Who says how good an answer is: the grader against ground truth, or the run's coach (points/10). */
  readonly verifier: 'grade' | 'coach';
  /**
   * Trains the last turn alone for so many steps, then the last two for as many, and so on until all are trained; 0 = all
   * turns from the first step on.
   */
  readonly backwardSteps: number;
};

/**
 * MAPoRL (arXiv 2502.18439): agents answer and discuss, a verifier judges every answer, and each agent is rewarded for its
 * own verdict, for those of the turns to come, and for changing minds the right way. All agents are trained together.
 */
export function createMaporl(options: MaporlOptions): Method {
  return (training, step) => {
    const isCoached = options.verifier === 'coach' && isAskedIn(training, step);
    return policyGradientStep(training, step, {
      isCoached,
      assign: (judged, evidence) => {
        const isGraded = !isCoached || isSpent(training);
        if (!isGraded) refuseTooFewScores(judged, training.settings);
        if (isGraded && options.verifier === 'coach') noteGrades(training, step);
        return creditDiscussions(training, { judged, evidence, step, isGraded }, options);
      },
    });
  };
}

function noteGrades({ watch }: Training, step: number): void {
  watch.note(
    `the coaching budget is spent: in step ${step} an answer's verdict is its grade (coaching.budget.whenSpent)`,
  );
}

type StepParts = {
  readonly judged: Judged;
  readonly evidence: Evidence;
  readonly step: number;
  /** Whether the grader is the verifier. */
  readonly isGraded: boolean;
};

function creditDiscussions(training: Training, parts: StepParts, options: MaporlOptions): Credit {
  const { judged, evidence, step, isGraded } = parts;
  const taskOf = new Map(training.tasks.map((task) => [task.id, task]));
  const source = {
    ...{ grade: training.grade, isGraded, taskOf: (id: string) => taskOf.get(id) },
    ...{ trajectories: judged.trajectories, feedback: judged.feedback },
  };
  const rewarded = rewardDiscussions(source, options);
  const { rewards, kinds } = rewarded;
  const speeches = judged.trajectories.flatMap(speechesOf);
  training.run.discussions.record(rewarded.answers.map(({ answer }) => answer));
  const { credited, metrics } = assignCredit(
    { ...training.settings.credit, credit: 'method' },
    { ...judged, ...evidence, rewards, kinds },
  );
  const turns = 1 + Math.max(-1, ...speeches.map(({ turn }) => turn));
  const first = options.backwardSteps === 0 ? 0 : turns - Math.ceil(step / options.backwardSteps);
  const isTrained = trainedFrom(speeches, first);
  const isReplaced = isGraded && options.verifier === 'coach';
  return {
    credited: credited.filter(({ action }) => isTrained.has(action.id)),
    metrics: {
      ...metrics,
      ...discussionMetrics(rewarded),
      ...(isReplaced && { 'outcome-credit': 1 }),
    },
  };
}

function trainedFrom(speeches: readonly Speech[], first: number): ReadonlySet<string> {
  const trained = speeches.filter(({ turn }) => turn >= first);
  return new Set(trained.flatMap(({ actions }) => actions.map(({ id }) => id)));
}

/**
 * `accuracy/turn-1`, `agreement/turn-1`, … of every turn, `wrong-to-right` and `right-to-wrong` (shares of the answers that
 * had one before), `conformity`, and per agent the means of `verdict/`, `discussion/`, `revision/` and `influence/`.
 */
function discussionMetrics({ answers }: RewardedAnswers): Metrics {
  const graded = answers.map(({ answer, play }) => ({ ...answer, trajectoryId: play }));
  const metrics: Record<string, number> = statisticMetrics(discussionStatistics(graded));
  const byAgent = Map.groupBy(answers, ({ answer }) => answer.agent);
  for (const [agent, own] of byAgent) {
    const means = {
      verdict: own.flatMap(({ answer }) => answer.verdict ?? []),
      discussion: own.flatMap(({ answer }) => answer.reward?.discussion ?? []),
      revision: own.flatMap(({ answer }) => answer.reward?.revision ?? []),
      influence: own.flatMap(({ answer }) => answer.reward?.influence ?? []),
    };
    for (const [name, values] of Object.entries(means)) {
      if (values.length === 0) continue;
      metrics[`${name}/${agent}`] = values.reduce((sum, value) => sum + value, 0) / values.length;
    }
  }
  return metrics;
}

function statisticMetrics(statistics: DiscussionStatistics): Record<string, number> {
  const metrics: Record<string, number> = {};
  const add = (name: string, share: number | undefined) => {
    if (share !== undefined) metrics[name] = share;
  };
  for (const [turn, { accuracy, agreement }] of statistics.turns.entries()) {
    add(`accuracy/turn-${turn + 1}`, accuracy.share);
    add(`agreement/turn-${turn + 1}`, agreement.share);
  }
  const sum = (name: keyof DiscussionStatistics['transitions'][number]) =>
    statistics.transitions.reduce((total, transitions) => total + transitions[name], 0);
  const [toRight, toWrong] = [sum('wrongToRight'), sum('rightToWrong')];
  const all = toRight + toWrong + sum('rightToRight') + sum('wrongToWrong');
  if (all > 0) {
    metrics['wrong-to-right'] = toRight / all;
    metrics['right-to-wrong'] = toWrong / all;
  }
  add('conformity', statistics.conformity.share);
  return metrics;
}
