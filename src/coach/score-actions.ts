import type { Coach, Feedback } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { allOrStop } from './all-or-stop.ts';
import { createLimiter } from './limit.ts';

const DEFAULT_CONCURRENCY = 8;

export type ScoreOptions = {
  /** By action id: verdicts that exist already and are not asked for again. */
  readonly known: ReadonlyMap<string, Feedback>;
  /** Called with every new verdict as soon as it is there, so that none is lost when another fails. */
  readonly record: (feedback: Feedback) => void;
  /** Actions in judgement at a time; default 8. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
};

/**
 * Asks the coach for a verdict on every action of a finished trajectory that has none yet.
 *
 * A trajectory that failed is never trained on, so nothing is paid for it.
 *
 * @returns one verdict per action, in the order of play, known ones included; none for a failed trajectory
 * @throws BoundaryError("coach") at the first permanent failure; calls still running are aborted, verdicts recorded stay
 */
export async function scoreTrajectory(
  coach: Coach,
  task: Task,
  trajectory: Trajectory,
  options: ScoreOptions,
): Promise<readonly Feedback[]> {
  if (trajectory.failure !== undefined) return [];
  const stop = new AbortController();
  const signal =
    options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const limit = createLimiter(options.concurrency ?? DEFAULT_CONCURRENCY);
  const scoreOne = async (action: Action, index: number): Promise<Feedback> => {
    const known = options.known.get(action.id);
    if (known !== undefined) return known;
    return await limit(async () => {
      signal.throwIfAborted();
      const earlier = trajectory.actions.slice(0, index);
      const feedback = await coach.score({ task, action, earlier }, { signal });
      options.record(feedback);
      return feedback;
    });
  };
  return await allOrStop(trajectory.actions.map(scoreOne), stop);
}
