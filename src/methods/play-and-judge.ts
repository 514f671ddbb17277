import { allOrStop } from '../coach/all-or-stop.ts';
import { BoundaryError } from '../errors.ts';
import { createCollector, type PlayRequest } from '../rollout/collect.ts';
import type { Stage } from '../rollout/play-task.ts';
import type { Outcome } from '../types/feedback.ts';
import type { Trajectory } from '../types/trajectory.ts';
import { describeUsage, isSpent } from './coach-metrics.ts';
import { openJudgement, withoutJudgement } from './judgement.ts';
import type { Judged, OpenStage, Training } from './training.ts';

/**
 * Plays every request, grades every play and, with `coached`, has every action scored, while agents go on playing; without
 * it only those that a team with `asksCoach` asks about. What the run store already holds of this scope is taken from there.
 *
 * @param options.signal ends the plays, unrecorded
 * @param options.onEnded told of every play that has ended, before its last verdicts, with its place among the requests
 * @throws BoundaryError when more than the permitted share of plays failed, or the coach failed for good
 */
export async function playAndJudge(
  training: Training,
  stage: OpenStage,
  requests: readonly PlayRequest[],
  options: {
    readonly coached: boolean;
    readonly signal?: AbortSignal;
    readonly onEnded?: (place: number, trajectory: Trajectory) => void;
  },
): Promise<Judged> {
  const { run, settings } = training;
  const { scope } = stage;
  const outcomes = new Map<string, Outcome>();
  const graded = run.outcomesOf(scope);
  const { stop, release } = stoppedBy(options.signal);
  const of = options.coached ? 'all' : 'asked';
  const isAsked = options.coached || (training.team.asksCoach === true && !isSpent(training));
  const judgement = isAsked
    ? openJudgement(training, scope, { stop, of })
    : withoutJudgement(training, scope);
  const onAnswer: Stage['onAnswer'] = async ({ task, trajectory, files }) => {
    const outcome = training.gradeFiles
      ? await training.gradeFiles(task, trajectory, files)
      : training.grade(task, trajectory);
    if (outcome) graded.set(trajectory.id, outcome);
  };
  const collect = createCollector(
    { ...stage, ...judgement, onAnswer, stop: stop.signal },
    settings.concurrency,
  );
  let done = 0;
  const ended = endedPlays(training, scope, requests.length);
  const judge = async (request: PlayRequest, place: number) => {
    const known = ended.get(`${request.task.id}/${request.sample}`);
    const trajectory = known ?? (await collect(request));
    const outcome = trajectory.failure
      ? undefined
      : (graded.get(trajectory.id) ?? training.grade(request.task, trajectory));
    run.recordTrajectory(scope, trajectory, outcome);
    // Not earlier: a play whose end is not recorded is resumed, and finds its files. One that failed may be, too.
    if (!trajectory.failure) await training.workspaces.remove(trajectory.id);
    if (outcome) outcomes.set(trajectory.id, outcome);
    options.onEnded?.(place, trajectory);
    await judgement.scoreEnded(request.task, trajectory, outcome);
    sayProgress(training, isAsked, { done: ++done, of: requests.length });
    return trajectory;
  };
  const judged = requests.map(judge);
  try {
    // Nothing may be written after a run has stopped: what is under way ends first, unrecorded.
    const trajectories = await allOrStop(judged, stop);
    refuseTooManyFailures(trajectories, settings.failedShareLimit);
    for (const { id, failure } of trajectories) if (failure) await training.workspaces.remove(id);
    return { trajectories, outcomes, feedback: judgement.feedback };
  } finally {
    await judgement.settled();
    release();
  }
}

/** A stop of its own that follows `signal` until it is released: a signal may last as long as the run. */
function stoppedBy(signal: AbortSignal | undefined): {
  readonly stop: AbortController;
  readonly release: () => void;
} {
  const stop = new AbortController();
  const abort = () => stop.abort(signal?.reason);
  if (signal?.aborted) abort();
  else signal?.addEventListener('abort', abort, { once: true });
  return { stop, release: () => signal?.removeEventListener('abort', abort) };
}

function sayProgress(
  { coach, watch }: Training,
  isCoached: boolean,
  { done, of }: { readonly done: number; readonly of: number },
): void {
  const usage = isCoached ? coach.usage() : undefined;
  const spent = usage === undefined || usage.calls === 0 ? '' : ` (${describeUsage(usage)})`;
  watch.waiting(isCoached ? `plays and the coach${spent}` : 'plays', done, of);
}

/**
 * Plays that ended before an interruption, by `task/sample`, taken as they ended: a failure of then is not tried again.
 * Only where so many failed that the run stopped for it are the failed ones played again, once their cause is mended.
 */
export function endedPlays(
  { run, settings }: Training,
  scope: string,
  requested: number,
): ReadonlyMap<string, Trajectory> {
  const ended = run.trajectoriesOf(scope);
  const failures = ended.filter(({ failure }) => failure);
  const isRefused = failures.length / requested > settings.failedShareLimit;
  const kept = isRefused ? ended.filter(({ failure }) => !failure) : ended;
  return new Map(kept.map((one) => [`${one.taskId}/${one.sample}`, one]));
}

export function refuseTooManyFailures(trajectories: readonly Trajectory[], limit: number): void {
  const failures = trajectories.flatMap(({ failure }) => failure ?? []);
  const share = failures.length / Math.max(1, trajectories.length);
  if (share <= limit) return;
  const first = failures[0];
  throw new BoundaryError(
    'policy',
    `${failures.length} of ${trajectories.length} plays failed (rollout.failedShareLimit is ${limit}); the first with ${first?.boundary}: ${first?.message}`,
  );
}
