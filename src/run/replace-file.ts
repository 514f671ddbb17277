import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { BoundaryError, messageOf } from '../errors.ts';
import { adviceForFile } from './explain-failure.ts';

const chunkLength = 1 << 20;

/**
 * Writes a file so that its path always holds either the former content or all of the new one.
 *
 * @param parts pieces of text, in order; taken one by one, so that a large file needs little memory
 * @throws BoundaryError("run") when it cannot be written; no half file is left
 */
export function replaceFile(path: string, parts: Iterable<string>): void {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeParts(temporary, parts);
    renameSync(temporary, path);
  } catch (error) {
    if (existsSync(temporary)) rmSync(temporary);
    if (error instanceof BoundaryError) throw error;
    const reason = adviceForFile(error) ?? messageOf(error);
    throw new BoundaryError('run', `${path} was not written: ${reason}`, { cause: error });
  }
}

function writeParts(path: string, parts: Iterable<string>): void {
  const file = openSync(path, 'w');
  try {
    let waiting = '';
    for (const part of parts) {
      waiting += part;
      if (waiting.length < chunkLength) continue;
      writeAll(file, waiting);
      waiting = '';
    }
    writeAll(file, waiting);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** One call may write less than it was given, for example on a disk that is nearly full. */
function writeAll(file: number, text: string): void {
  const bytes = Buffer.from(text);
  let written = 0;
  while (written < bytes.length) written += writeSync(file, bytes, written);
}
