import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** An interpreter with pandas and scikit-learn; undefined where this machine has none. */
export async function dataSciencePython(): Promise<string | undefined> {
  for (const python of ['python3', '/usr/bin/python3']) {
    const found = promisify(execFile)(python, ['-c', 'import pandas, sklearn']);
    if (await found.then(() => true).catch(() => false)) return python;
  }
  return undefined;
}
