import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';

export const manifestName = 'manifest.json';

const manifestSchema = z.strictObject({
  /** Layout of this file. */
  format: z.literal(1),
  step: z.int().nonnegative(),
  configHash: z.string().optional(),
  versions: z.record(z.string(), z.string()),
  /** Path inside the checkpoint, with `/` → what it must hold. */
  files: z.record(z.string(), z.object({ bytes: z.int().nonnegative(), sha256: z.string() })),
});

/** What a whole checkpoint holds, so that a damaged one is noticed before it is trained on. */
export type Manifest = z.infer<typeof manifestSchema>;

/** Sizes and digests of all files of a folder, by relative path. */
export async function describeFiles(directory: string): Promise<Manifest['files']> {
  const files: Manifest['files'] = {};
  for (const name of await filesIn(directory)) {
    const path = join(directory, name);
    const { size } = await stat(path);
    files[name.split(sep).join('/')] = { bytes: size, sha256: await digestOf(path) };
  }
  return files;
}

/** Relative paths of all files below a folder, sorted. */
export async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

/** @throws BoundaryError("checkpoint") when the manifest is missing or unreadable */
export async function readManifest(directory: string): Promise<Manifest> {
  const path = join(directory, manifestName);
  try {
    return manifestSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new BoundaryError(
        'checkpoint',
        `there is no checkpoint in ${directory} (expected a ${manifestName} in it): name a folder such as runs/NAME/checkpoints/step-000100`,
        { cause: error },
      );
    }
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    throw new BoundaryError(
      'checkpoint',
      `checkpoint ${directory} has no usable ${manifestName} (${reason}): name another checkpoint, or start the run anew in another folder`,
      { cause: error },
    );
  }
}

/** @throws BoundaryError("checkpoint") naming the first file that is missing, cut short or altered */
export async function verifyFiles(directory: string, manifest: Manifest): Promise<void> {
  for (const [name, expected] of Object.entries(manifest.files)) {
    const problem = await problemWith(join(directory, ...name.split('/')), expected);
    if (problem === undefined) continue;
    throw new BoundaryError(
      'checkpoint',
      `checkpoint ${directory}: ${name} ${problem}; copy this checkpoint again from where it is whole, or start the run anew in another folder`,
    );
  }
}

async function problemWith(
  path: string,
  expected: Manifest['files'][string],
): Promise<string | undefined> {
  try {
    const { size } = await stat(path);
    if (size !== expected.bytes) return `has ${size} bytes, expected ${expected.bytes}`;
    const isSame = (await digestOf(path)) === expected.sha256;
    return isSame ? undefined : 'was altered: its SHA-256 is not the one in the manifest';
  } catch (error) {
    return `cannot be read (${messageOf(error)})`;
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  // Large pieces cost fewer turns of the event loop, and one is hashed in about a millisecond.
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece);
  return hash.digest('hex');
}
