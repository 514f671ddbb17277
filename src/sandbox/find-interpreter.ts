import { execFile } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';

/** A Python on this machine. */
export type Interpreter = {
  readonly executable: string;
  /** Folders outside the system's that it and its packages live in. */
  readonly prefixes: readonly string[];
};

const question =
  'import json, os, sys; print(json.dumps({"executable": sys.executable, "version": list(sys.version_info[:2]), "prefixes": [sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))]}))';

const answer = z.object({
  executable: z.string().min(1),
  version: z.tuple([z.int(), z.int()]),
  prefixes: z.array(z.string()),
});

/** A folder is taken for a virtual environment. */
function commandOf(python: string): string {
  const path = resolve(python);
  const isFolder = existsSync(path) && statSync(path).isDirectory();
  if (isFolder) return join(path, 'bin', 'python3');
  return python.includes('/') ? path : python;
}

/**
 * Asks an interpreter where it lives.
 *
 * @param python a command, the path of an interpreter, or the folder of a virtual environment
 * @throws BoundaryError("config") when it does not answer, or is older than 3.9
 */
export async function findInterpreter(python: string): Promise<Interpreter> {
  const command = commandOf(python);
  try {
    const { stdout } = await promisify(execFile)(command, ['-c', question], { timeout: 20_000 });
    const { executable, version, prefixes } = answer.parse(JSON.parse(stdout));
    if (version[0] !== 3 || version[1] < 9) throw new Error(`it is Python ${version.join('.')}`);
    const own = prefixes.filter((path) => path !== '/' && !/^\/usr(\/|$)/.test(path));
    return { executable, prefixes: [...new Set(own)] };
  } catch (cause) {
    throw new BoundaryError(
      'config',
      `the sandbox needs Python 3.9 or newer, but ${command} did not answer (${messageOf(cause)}): install python3, or name an interpreter or a virtual environment with rollout.sandbox.python`,
      { cause },
    );
  }
}
