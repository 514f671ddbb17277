import type { Task } from '../types/task.ts';
import { numpyChoice } from './numpy-choice.ts';

/** The seed with which MAPPA drew its 512 of 933 training problems. */
const publishedSeed = 42;

/**
 * `count` of the tasks without replacement, in the order in which they stood: from the 933 AIME problems of 1983 to 2024
 * the 512 that MAPPA trained on.
 *
 * @throws BoundaryError("task") when there are fewer
 * @see MAPPA's `random_sample_train`: numpy.random.seed(42); choice(933, 512, replace=False), sorted
 */
export function sampleTasks(tasks: readonly Task[], count: number): Task[] {
  const chosen = new Set(numpyChoice(tasks.length, count, publishedSeed));
  return tasks.filter((_, index) => chosen.has(index));
}
