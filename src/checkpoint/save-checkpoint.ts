import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BoundaryError, messageOf } from '../errors.ts';
import { adviceForFile } from '../run/explain-failure.ts';
import {
  type Checkpoint,
  checkpointName,
  checkpointsDirectory,
  pruneCheckpoints,
  removeWhole,
  temporaryFor,
} from './checkpoint-directory.ts';
import { describeFiles, filesIn, type Manifest, manifestName } from './manifest.ts';

export type SaveOptions = {
  /** The run directory. */
  readonly directory: string;
  readonly step: number;
  /** Fills an empty folder with everything the checkpoint holds. */
  readonly write: (temporaryDirectory: string) => Promise<void>;
  /**
   * How many checkpoints stay, at least 2: a process killed between saving this one and recording its step resumes
   * from the one before.
   */
  readonly keep: number;
  readonly configHash?: string;
  /** What wrote it, for example `{ teamtune: '0.1.0', libtorch: '2.13.0' }`; Node's own version is added. */
  readonly versions?: Readonly<Record<string, string>>;
};

/**
 * Saves a checkpoint whole or not at all: written aside, forced to the disk, then renamed. One of the same step, left
 * by a process that was killed before it recorded the step, is replaced.
 *
 * @throws BoundaryError("checkpoint") when the disk is full or may not be written; nothing is left behind
 */
export async function saveCheckpoint(options: SaveOptions): Promise<Checkpoint> {
  const { directory, step, keep } = options;
  if (!Number.isInteger(keep) || keep < 2) {
    throw new BoundaryError(
      'checkpoint',
      `checkpoints to keep: expected at least 2, got ${keep}; the one before the newest is what a killed run resumes from`,
    );
  }
  const name = checkpointName(step);
  const final = join(checkpointsDirectory(directory), name);
  const temporary = temporaryFor(final);
  try {
    await mkdir(temporary, { recursive: true });
    await options.write(temporary);
    await writeManifest(temporary, options);
    await flushFolder(temporary);
    await putInPlace(temporary, final);
    pruneCheckpoints(directory, keep);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw explain(final, error);
  }
  return { step, name, directory: final };
}

async function writeManifest(directory: string, options: SaveOptions): Promise<void> {
  const manifest: Manifest = {
    format: 1,
    step: options.step,
    ...(options.configHash === undefined ? {} : { configHash: options.configHash }),
    versions: { node: process.version, ...options.versions },
    files: await describeFiles(directory),
  };
  await writeFile(join(directory, manifestName), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

/** Without this a power cut could leave the new name with empty files behind it. */
async function flushFolder(directory: string): Promise<void> {
  for (const name of await filesIn(directory)) await flush(join(directory, name));
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((found) => found.isDirectory())) {
    await flush(join(entry.parentPath, entry.name));
  }
  await flush(directory);
}

async function putInPlace(temporary: string, final: string): Promise<void> {
  if (existsSync(final)) removeWhole(final);
  await rename(temporary, final);
  await flush(dirname(final));
}

async function flush(path: string): Promise<void> {
  // Windows cannot open folders; there the rename itself is durable.
  const file = await open(path, 'r').catch((error: unknown) => {
    if (process.platform === 'win32') return undefined;
    throw error;
  });
  try {
    if (process.platform !== 'win32') await file?.sync();
  } finally {
    await file?.close();
  }
}

function explain(path: string, error: unknown): unknown {
  const advice = adviceForFile(error);
  if (advice === undefined && !(error instanceof Error && 'syscall' in error)) return error;
  return new BoundaryError(
    'checkpoint',
    `checkpoint ${path} was not saved: ${advice ?? messageOf(error)}; the one before it is untouched`,
    { cause: error },
  );
}
