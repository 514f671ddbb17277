// The Python packages that the engine is compared with.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { benchFile, root } from './places.ts';

const ownFolder = join(root, '.teamtune', 'peers');

export type PeerOptions = {
  /** Makes the virtual environment when it is missing. */
  readonly install: boolean;
  /** An environment that holds the packages of bench/peers/requirements.txt; default: `PEERS`, else the project's own. */
  readonly folder: string | undefined;
};

/** The Python of the peers' environment; undefined when there is none and none is to be made. */
export function findPeers({ install, folder }: PeerOptions): string | undefined {
  const named = folder ?? process.env.PEERS;
  const python = join(named ?? ownFolder, 'bin', 'python');
  if (existsSync(python)) return python;
  if (named !== undefined)
    throw new Error(`expected a virtual environment in ${named}, found none`);
  if (!install) return undefined;
  process.stderr.write(`installing the peers into ${ownFolder} (several gigabytes)\n`);
  runOrThrow('python3', ['-m', 'venv', ownFolder]);
  const requirements = benchFile('peers', 'requirements.txt');
  runOrThrow(python, ['-m', 'pip', 'install', '--quiet', '--requirement', requirements]);
  return python;
}

function runOrThrow(program: string, args: readonly string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  throw new Error(
    `\`${program} ${args.join(' ')}\` failed (${error?.message ?? `exit ${status}`})`,
  );
}
