import PQueue from 'p-queue';
import type { Task } from '../types/task.ts';
import type { Trajectory } from '../types/trajectory.ts';
import { playTask, type Stage } from './play-task.ts';

/** One play to do: a task and which of its samples this is. */
export type PlayRequest = { readonly task: Task; readonly sample: number };

/**
 * Every task, `samplesPerTask` times. A task that is listed twice (a step may cross from one epoch into the next) has
 * its samples counted on, so that (task, sample) names one play.
 */
export function playRequests(tasks: readonly Task[], samplesPerTask: number): PlayRequest[] {
  const taken = new Map<string, number>();
  return tasks.flatMap((task) => {
    const first = taken.get(task.id) ?? 0;
    taken.set(task.id, first + samplesPerTask);
    return Array.from({ length: samplesPerTask }, (_, sample) => ({
      task,
      sample: first + sample,
    }));
  });
}

/**
 * A function that starts a play, at most `concurrency` at a time; the plays' policy calls meet in the engine's batch.
 *
 * @returns the trajectory; a play that breaks is one with its failure. Rejects only when the run stops
 */
export function createCollector(
  stage: Stage,
  concurrency: number,
): (request: PlayRequest) => Promise<Trajectory> {
  const queue = new PQueue({ concurrency });
  return ({ task, sample }) => queue.add(() => playTask(stage, task, sample));
}
