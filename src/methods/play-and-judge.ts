import { allOrStop } from '../coach/all-or-stop.ts';
import { scoreTrajectory } from '../coach/score-actions.ts';
import { BoundaryError } from '../errors.ts';
import { createCollector, type PlayRequest } from '../rollout/collect.ts';
import type { Stage } from '../rollout/play-task.ts';
import type { Feedback, Outcome } from '../types/feedback.ts';
import type { Trajectory } from '../types/trajectory.ts';
import type { Training } from './training.ts';

/** What a scope's plays came to. */
export type Judged = {
  /** In the order of the requests. */
  readonly trajectories: readonly Trajectory[];
  /** By trajectory id; absent where there is no ground truth or the play failed. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** By action id; empty when no coach was asked. */
  readonly feedback: ReadonlyMap<string, Feedback>;
};

/**
 * Plays every request, grades every play and, with `coached`, has every action scored. A play is scored as soon as it
 * is over, while others still play. What the run store already holds of this scope is taken from there.
 *
 * @throws BoundaryError when more than the permitted share of plays failed, or the coach failed for good
 */
export async function playAndJudge(
  training: Training,
  stage: Omit<Stage, 'stop'>,
  requests: readonly PlayRequest[],
  options: { readonly coached: boolean },
): Promise<Judged> {
  const { run, settings, watch } = training;
  const outcomes = new Map<string, Outcome>();
  // A coach that gave no verdict is asked again: a run that stopped for want of scores can go on once it is mended.
  const feedback = new Map(
    [...run.feedbackOf(stage.scope)].filter(([, { kind }]) => kind === 'scored'),
  );
  const stop = new AbortController();
  const collect = createCollector({ ...stage, stop: stop.signal }, settings.concurrency);
  let done = 0;
  const judge = async (request: PlayRequest, ended: Trajectory | undefined) => {
    const trajectory = ended ?? (await collect(request));
    run.recordTrajectory(stage.scope, trajectory);
    // Not earlier: a play whose end is not recorded is resumed, and finds its files. One that failed may be, too.
    if (!trajectory.failure) await training.workspaces.remove(trajectory.id);
    const outcome = trajectory.failure ? undefined : training.grade(request.task, trajectory);
    if (outcome) {
      outcomes.set(trajectory.id, outcome);
      run.recordOutcome(outcome);
    }
    if (options.coached && !trajectory.failure) {
      const record = (verdict: Feedback) => {
        feedback.set(verdict.actionId, verdict);
        run.recordFeedback(verdict);
      };
      const { signal } = stop;
      const how = { known: feedback, record, signal };
      await scoreTrajectory(training.coach, request.task, trajectory, how);
    }
    watch.waiting(options.coached ? 'plays and the coach' : 'plays', ++done, requests.length);
    return trajectory;
  };
  const ended = endedPlays(training, stage.scope, requests.length);
  const judged = requests.map((request) =>
    judge(request, ended.get(`${request.task.id}/${request.sample}`)),
  );
  // Nothing may be written after a run has stopped: what is under way ends first, unrecorded.
  const trajectories = await allOrStop(judged, stop);
  refuseTooManyFailures(trajectories, settings.failedShareLimit);
  for (const { id, failure } of trajectories) if (failure) await training.workspaces.remove(id);
  return { trajectories, outcomes, feedback };
}

/**
 * Plays that ended before an interruption, by `task/sample`, taken as they ended: a failure of then is not tried again.
 * Only where so many failed that the run stopped for it are the failed ones played again, once their cause is mended.
 */
function endedPlays(
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

function refuseTooManyFailures(trajectories: readonly Trajectory[], limit: number): void {
  const failures = trajectories.flatMap(({ failure }) => failure ?? []);
  const share = failures.length / Math.max(1, trajectories.length);
  if (share <= limit) return;
  const first = failures[0];
  throw new BoundaryError(
    'policy',
    `${failures.length} of ${trajectories.length} plays failed (rollout.failedShareLimit is ${limit}); the first with ${first?.boundary}: ${first?.message}`,
  );
}
