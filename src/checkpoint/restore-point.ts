import { join } from 'node:path';
import type { BoundaryError } from '../errors.ts';
import type { Run } from '../run/run-store.ts';
import { checkpointsDirectory, removeUnfinishedCheckpoints } from './checkpoint-directory.ts';
import { damageOf } from './restore-checkpoint.ts';

/** A completed step and the whole checkpoint of it. */
export type RestorePoint = { readonly step: number; readonly directory: string };

/**
 * Where a run goes on: the newest completed step whose checkpoint is whole. Steps after it count as not completed from
 * then on; what was played and judged in them stays, so that they come out as they were.
 *
 * @param note told of a step back
 * @returns undefined before the first completed step
 * @throws BoundaryError("checkpoint") of the newest step when no checkpoint is whole
 */
export async function restorePoint(
  run: Run,
  note: (text: string) => void,
): Promise<RestorePoint | undefined> {
  removeUnfinishedCheckpoints(run.directory);
  let damage: BoundaryError | undefined;
  for (const { step, checkpoint } of run.completedSteps().reverse()) {
    const directory = join(checkpointsDirectory(run.directory), checkpoint);
    const problem = await damageOf(directory);
    if (problem === undefined) {
      if (damage !== undefined) {
        run.reopenAfter(step);
        note(`warning: ${damage.message}. Going on from step ${step}, the last one that is whole`);
      }
      return { step, directory };
    }
    damage ??= problem;
  }
  if (damage !== undefined) throw damage;
  return undefined;
}
