import { treeValues } from '../../credit/tree-values.ts';
import type { Action, Trajectory } from '../../types/trajectory.ts';

/**
 * The values of actions that were played without a tree: plays of one task whose actions so far were the same, token by
 * token, are taken to have shared them.
 *
 * @param worthOf of a play, in [0, 1]; undefined where it has none
 * @returns by action id; an action that no other play shares is worth what its play is
 */
export function recordedValues(
  trajectories: readonly Trajectory[],
  worthOf: (trajectory: Trajectory) => number | undefined,
): ReadonlyMap<string, number> {
  const firstOf = new Map<string, string>();
  const sharedIds = new Map<string, string>();
  const idOf = (taskId: string, parent: string, { id, observation, tokens }: Action) => {
    const place = `${taskId} ${parent} ${observation} ${tokens}`;
    const shared = firstOf.get(place) ?? id;
    firstOf.set(place, shared);
    sharedIds.set(id, shared);
    return shared;
  };
  const paths = trajectories.flatMap((trajectory) => {
    const value = worthOf(trajectory);
    if (value === undefined) return [];
    let parent = '';
    const actionIds = trajectory.actions.map((action) => {
      parent = idOf(trajectory.taskId, parent, action);
      return parent;
    });
    return [{ actionIds, value }];
  });
  const values = treeValues(paths);
  return new Map([...sharedIds].map(([id, shared]) => [id, values.get(shared)?.value as number]));
}
