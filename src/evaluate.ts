import { countUnscoredPlays } from './methods/coach-metrics.ts';
import { recordDiscussions } from './methods/discussion-answers.ts';
import { playAndJudge } from './methods/play-and-judge.ts';
import { majorityAccuracy, passAtK, type TaskGrades } from './methods/statistics.ts';
import { createStage, type Judged, publishAll, type Training } from './methods/training.ts';
import { type PlayRequest, playRequests } from './rollout/collect.ts';
import { type Accuracy, accuracyOf } from './run/accuracy.ts';
import { bootstrapMean, type Interval } from './run/bootstrap-mean.ts';
import { evaluationName } from './run/evaluation-name.ts';
import type { EvaluationRow } from './run/rows.ts';
import type { Metrics } from './types/metrics.ts';
import type { Task } from './types/task.ts';
import type { Trajectory } from './types/trajectory.ts';

/** What one evaluation found. */
export type Evaluation = {
  readonly name: string;
  /** Absent when nothing was played. */
  readonly accuracy?: Accuracy;
  readonly majority: number;
  /** k → unbiased pass@k, for k = 1, 2, 4, … up to the number of samples. */
  readonly passAtK: Readonly<Record<string, number>>;
  /** What else the grader measured, by name. */
  readonly measures: Readonly<Record<string, Interval>>;
  /** Plays that broke; they count as not solved. */
  readonly failed: number;
  /** Of a team that asks for the coach's verdicts; absent for any other. */
  readonly coaching?: EvaluationCoaching;
};

/** What the coach did in an evaluation. */
type EvaluationCoaching = {
  readonly verdicts: number;
  /** Of them those without a score. */
  readonly unscored: number;
  /** Plays in which no agent's last answer has a score; absent unless scores weigh the team's vote. */
  readonly unscoredPlays?: number;
};

/** Evaluates on every held-out set in turn, each under its own name (`base`, or `base@amc` where sets are named). */
export async function evaluateSets(
  training: Training,
  moment: string,
): Promise<readonly Evaluation[]> {
  const evaluations: Evaluation[] = [];
  for (const { name, tasks } of training.heldOut) {
    evaluations.push(await evaluateTeam(training, evaluationName(moment, name), tasks));
  }
  return evaluations;
}

/**
 * Plays every task `samplesPerTask` times with the policies as they are now and grades by rule; a coach is asked only by a
 * team that wants its verdicts.
 * Results are keyed by (task, sample); plays that the run store already holds under this name are not played again.
 */
async function evaluateTeam(
  training: Training,
  name: string,
  tasks: readonly Task[],
): Promise<Evaluation> {
  const { samplesPerTask, temperature } = training.settings.evaluation;
  const stage = createStage(training, {
    scope: `eval:${name}`,
    samplers: await publishAll(training.policies),
    temperature,
  });
  const requests = playRequests(tasks, samplesPerTask);
  const judged = await playAndJudge(training, stage, requests, { coached: false });
  const { trajectories, outcomes } = judged;
  const graded = trajectories.map(async (trajectory, index): Promise<EvaluationRow> => {
    const { id: trajectoryId, taskId, sample, failure } = trajectory;
    const { task } = requests[index] as PlayRequest;
    // A play that broke counts as not solved, and as what its task's grader says of nothing.
    const outcome =
      failure === undefined
        ? outcomes.get(trajectoryId)
        : await training.gradeFiles?.(task, trajectory);
    return { taskId, sample, ...(outcome ?? { trajectoryId, correct: false }) };
  });
  const rows = await Promise.all(graded);
  training.run.recordEvaluation(name, rows);
  if (training.settings.gradesEveryAnswer) recordDiscussions(training, tasks, judged);
  const coaching = coachingOf(training, judged);
  const evaluation = {
    ...summarizeEvaluation(name, rows, trajectories),
    ...(coaching && { coaching }),
  };
  training.watch.evaluated(name, metricsOf(evaluation));
  if (coaching) training.watch.note(describeCoaching(coaching, trajectories.length));
  return evaluation;
}

function coachingOf(training: Training, judged: Judged): EvaluationCoaching | undefined {
  if (training.team.asksCoach !== true) return undefined;
  const unscoredPlays = countUnscoredPlays(training, judged);
  const verdicts = [...judged.feedback.values()];
  const unscored = verdicts.filter(({ kind }) => kind === 'unscored').length;
  return {
    ...{ verdicts: verdicts.length, unscored },
    ...(unscoredPlays === undefined ? {} : { unscoredPlays }),
  };
}

function describeCoaching(
  { verdicts, unscored, unscoredPlays }: EvaluationCoaching,
  plays: number,
): string {
  const asked = `the coach was asked for ${verdicts} verdicts and left ${unscored} unscored`;
  if (unscoredPlays === undefined) return asked;
  return `${asked}; in ${unscoredPlays} of ${plays} plays no last answer has a score`;
}

type Row = {
  readonly taskId: string;
  readonly sample: number;
  readonly correct: boolean;
  readonly extracted?: string;
  readonly measures?: Readonly<Record<string, number>>;
};

/** Statistics of graded plays; rows may come in any order. */
export function summarizeEvaluation(
  name: string,
  rows: readonly Row[],
  trajectories: readonly Trajectory[] = [],
): Evaluation {
  const grades = gradesByTask(rows);
  const samplesPerTask = Math.max(0, ...grades.map(({ correct }) => correct.length));
  const passes: Record<string, number> = {};
  for (let k = 1; k <= samplesPerTask; k *= 2) {
    const pass = passAtK(grades, k);
    if (pass !== undefined) passes[k] = pass;
  }
  const accuracy = accuracyOf(rows);
  return {
    name,
    ...(accuracy === undefined ? {} : { accuracy }),
    majority: majorityAccuracy(grades),
    passAtK: passes,
    measures: measuresOf(rows),
    failed: trajectories.filter(({ failure }) => failure).length,
  };
}

/** Each measure over the rows that have it, which is all rows of tasks of its kind. */
function measuresOf(rows: readonly Row[]): Record<string, Interval> {
  const names = [...new Set(rows.flatMap(({ measures = {} }) => Object.keys(measures)))];
  return Object.fromEntries(
    names.toSorted().flatMap((name) => {
      const having = rows.filter(({ measures }) => measures?.[name] !== undefined);
      const byTask = Map.groupBy(having, ({ taskId }) => taskId);
      const values = [...byTask].map(
        ([taskId, own]) => [taskId, own.flatMap(({ measures }) => measures?.[name] ?? [])] as const,
      );
      const interval = bootstrapMean(new Map(values));
      return interval === undefined ? [] : [[name, interval]];
    }),
  );
}

/** Rows grouped by task, samples in order. */
function gradesByTask(rows: readonly Row[]): TaskGrades[] {
  const tasks = Map.groupBy(rows, ({ taskId }) => taskId);
  return [...tasks].map(([taskId, samples]) => {
    const ordered = samples.toSorted((first, second) => first.sample - second.sample);
    return {
      taskId,
      correct: ordered.map(({ correct }) => correct),
      answers: ordered.map(({ extracted }) => extracted),
    };
  });
}

function metricsOf({ accuracy, majority, failed, measures }: Evaluation): Metrics {
  if (accuracy === undefined) return { failed };
  const means = Object.entries(measures).map(([name, { mean }]) => [name, mean] as const);
  return {
    ...Object.fromEntries(means),
    accuracy: accuracy.accuracy,
    'accuracy-low': accuracy.low,
    'accuracy-high': accuracy.high,
    majority,
    tasks: accuracy.tasks,
    failed,
  };
}
