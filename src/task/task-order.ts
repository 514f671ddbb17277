import { BoundaryError } from '../errors.ts';
import { createRandom, seedFor, shuffled } from '../random.ts';
import type { Task } from '../types/task.ts';

/**
 * The task at a position of an endless, seeded order: every epoch is a fresh permutation of all tasks.
 *
 * Pure, so a resumed run needs nothing but its position: no task is repeated or skipped within an epoch.
 *
 * @param position tasks taken before this one, from 0
 */
export function taskAt(tasks: readonly Task[], seed: number, position: number): Task {
  const [task] = tasksFrom(tasks, seed, { position, count: 1 });
  if (task === undefined) throw new BoundaryError('task', 'There are no tasks to take one from.');
  return task;
}

/**
 * `count` tasks in a row of the order of {@link taskAt}; a batch may cross from one epoch into the next.
 *
 * @param span.stratify any stretch holds the tasks' first tags in the proportions of the whole, to within one task each
 */
export function tasksFrom(
  tasks: readonly Task[],
  seed: number,
  span: { readonly position: number; readonly count: number; readonly stratify?: boolean },
): Task[] {
  if (tasks.length === 0) {
    throw new BoundaryError('task', 'There are no tasks to take from; check the task file.');
  }
  const taken: Task[] = [];
  let position = span.position;
  while (taken.length < span.count) {
    const epoch = Math.floor(position / tasks.length);
    const random = createRandom(seedFor(seed, 'task-order', epoch));
    const order = span.stratify ? interleaved(shuffled(tasks, random)) : shuffled(tasks, random);
    const start = position % tasks.length;
    const slice = order.slice(start, start + span.count - taken.length);
    taken.push(...slice);
    position += slice.length;
  }
  return taken;
}

/** The tasks of each first tag spread evenly over the order, each tag's own in the order in which they came. */
function interleaved(tasks: readonly Task[]): Task[] {
  const strata = [...Map.groupBy(tasks, ({ tags }) => tags?.[0] ?? '').values()];
  const placed = strata.flatMap((own) =>
    own.map((task, index) => ({ task, place: (index + 0.5) / own.length })),
  );
  return placed.toSorted((one, other) => one.place - other.place).map(({ task }) => task);
}
