import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { BoundaryError } from '../errors.ts';
import { explainSqliteFailure, isBusy } from './explain-failure.ts';

/** The right to write into a run directory, until it is released or its process ends. */
export type RunLock = { readonly release: () => void };

/**
 * Takes the lock of a run directory.
 *
 * The lock is a SQLite write transaction on the empty file `run.lock` that is never committed. The operating system
 * drops it when its process ends, however it ends, so a killed run leaves nothing to clean up and no process id can
 * be mistaken for another's. Readers of `run.db` are not touched.
 *
 * @param describeHolder who has the lock, asked only when it is taken, for example `process 123 on host a`
 * @throws BoundaryError("run") when a living process has it
 */
export function lockRun(directory: string, describeHolder: () => string): RunLock {
  const path = join(directory, 'run.lock');
  let connection: DatabaseSync | undefined;
  try {
    const opened = new DatabaseSync(path, { timeout: 0 });
    connection = opened;
    opened.exec('BEGIN IMMEDIATE');
    return { release: () => opened.close() };
  } catch (error) {
    connection?.close();
    if (!isBusy(error)) throw explainSqliteFailure(path, error);
    throw new BoundaryError(
      'run',
      `run directory ${directory} is being written by ${describeHolder()}: wait until it has finished, stop it, or use another directory`,
      { cause: error },
    );
  }
}
