import { BoundaryError } from '../errors.ts';
import { type Manifest, readManifest, verifyFiles } from './manifest.ts';

/**
 * Checks that a checkpoint is what was saved, before anything is loaded from it.
 *
 * @param directory of one checkpoint, for example `runs/a/checkpoints/step-000012`
 * @throws BoundaryError("checkpoint") naming the file that is missing, cut short or altered
 */
export async function restoreCheckpoint(
  directory: string,
): Promise<{ readonly directory: string; readonly manifest: Manifest }> {
  const manifest = await readManifest(directory);
  await verifyFiles(directory, manifest);
  return { directory, manifest };
}

/** What is wrong with a checkpoint; undefined where it is whole. */
export async function damageOf(directory: string): Promise<BoundaryError | undefined> {
  try {
    await restoreCheckpoint(directory);
    return undefined;
  } catch (error) {
    if (error instanceof BoundaryError && error.boundary === 'checkpoint') return error;
    throw error;
  }
}
