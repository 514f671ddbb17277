import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BoundaryError } from '../errors.ts';

/** @throws BoundaryError("config") for a folder that holds something and is not resumed, or the other way round */
export function refuseWrongDirectory(
  directory: string,
  wanted: { readonly resume: boolean; readonly what: 'run' | 'evaluation' | 'record' },
): void {
  const exists = existsSync(join(directory, 'run.db'));
  if (exists === wanted.resume) return;
  const article = wanted.what === 'evaluation' ? 'an evaluation' : `a ${wanted.what}`;
  throw new BoundaryError(
    'config',
    exists
      ? `${directory} already holds ${article}; add --resume to go on with it, or name another folder with --output`
      : `there is no ${wanted.what} to resume in ${directory}; leave out --resume to start one`,
  );
}
