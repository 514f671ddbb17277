import { access, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { syncDirectory } from '../../engine/safetensors.ts';
import { BoundaryError } from '../../errors.ts';

/**
 * Makes a folder whole or not at all: `write` fills it under another name, then it is renamed.
 *
 * @throws BoundaryError("engine") when the folder exists already or cannot be written
 */
export async function writeFolder(
  directory: string,
  write: (aside: string) => Promise<void>,
): Promise<void> {
  const target = resolve(directory);
  if (await isPresent(target)) {
    throw new BoundaryError('engine', `${directory} exists already; give a folder that does not`);
  }
  const aside = `${target}.partial-${process.pid}`;
  try {
    await rm(aside, { recursive: true, force: true });
    await mkdir(aside, { recursive: true });
    await write(aside);
    await rename(aside, target);
    await syncDirectory(dirname(target));
  } catch (cause) {
    await rm(aside, { recursive: true, force: true });
    if (cause instanceof BoundaryError) throw cause;
    throw new BoundaryError('engine', `Cannot write the folder ${directory}`, { cause });
  }
}

async function isPresent(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
