import { BoundaryError, messageOf } from '../errors.ts';

/** What a person can do about a failure of SQLite, by its primary result code (sqlite.org/rescode.html). */
const adviceByCode: Readonly<Record<number, string>> = {
  3: 'access is denied: give this user the right to read and write the run directory',
  5: 'another process keeps it locked: wait for it to finish, or stop it',
  6: 'another process keeps it locked: wait for it to finish, or stop it',
  8: 'it may not be written: give this user the right to write the run directory',
  10: 'reading or writing it failed: check that the disk has free space and is healthy, then continue with --resume',
  11: 'the file is damaged: restore it from a copy, or start the run again in another directory',
  13: 'the disk is full: free some space, then continue with --resume',
  14: 'it cannot be opened: check that the run directory exists and is readable and writable',
  26: 'the file is not a run database: name a directory that `teamtune train` wrote',
};

const constraint = 19;

function resultCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined;
  // Extended codes keep the primary code in their low byte.
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

/** Whether SQLite refused because another connection holds the lock. */
export function isBusy(error: unknown): boolean {
  return resultCodeOf(error) === 5;
}

/**
 * The one sentence for a failure of SQLite; anything else comes back as it was.
 *
 * @param path the database, as the user knows it
 */
export function explainSqliteFailure(path: string, error: unknown): unknown {
  const code = resultCodeOf(error);
  if (code === undefined) return error;
  const advice = code === constraint ? 'the row contradicts what is stored' : adviceByCode[code];
  const detail = messageOf(error);
  const sentence = advice === undefined ? detail : `${advice} (SQLite: ${detail})`;
  return new BoundaryError('run', `run database ${path}: ${sentence}`, { cause: error });
}

const adviceByErrno: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free some space and try again',
  EDQUOT: 'the disk quota is used up: free some space and try again',
  EFBIG: "the file would pass this system's size limit: raise it (ulimit -f) and try again",
  EROFS: 'the disk may not be written: choose a path on another one',
  EACCES: 'access is denied: choose a path that this user may write',
  EPERM: 'access is denied: choose a path that this user may write',
  EEXIST: 'a file of that name is in the way: choose another path',
  ENOTDIR: 'a part of the path is a file: choose another path',
  EISDIR: 'it is a directory: choose the path of a file',
};

/** What a person can do about a failure of the file system, or undefined where its own message must do. */
export function adviceForFile(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'string') return adviceByErrno[error.code];
  return undefined;
}
