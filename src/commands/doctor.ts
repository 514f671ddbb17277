import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { addonPath, describeEngine } from '../engine/native.ts';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Command } from './command.ts';

/** One line of the doctor's findings; `advice` says what would be better and how to get it. */
type Finding = { readonly what: string; readonly found: string; readonly advice?: string };

export const doctorCommand: Command = {
  summary: 'Say which libtorch, devices and threads are in use, and what would be faster.',
  operands: [],
  options: {},
  run: async (request) => {
    const findings = [...machine(), ...engine()];
    if (!request.json) for (const finding of findings) console.log(describe(finding));
    return { findings };
  },
};

function describe({ what, found, advice }: Finding): string {
  return `${what.padEnd(10)} ${found}${advice === undefined ? '' : `\n${' '.repeat(11)}→ ${advice}`}`;
}

function machine(): Finding[] {
  const gigabytes = (totalmem() / 2 ** 30).toFixed(0);
  return [
    { what: 'node', found: process.version },
    { what: 'machine', found: `${availableParallelism()} cores, ${gigabytes} GiB of memory` },
  ];
}

function engine(): Finding[] {
  try {
    const { version, threads, cudaDevices, build } = describeEngine();
    return [
      libtorch(version),
      { what: 'blas', found: blasOf(build) },
      { what: 'threads', found: `${threads} for the engine` },
      cudaDevices > 0
        ? { what: 'device', found: `cpu and ${cudaDevices} CUDA` }
        : { what: 'device', found: 'cpu only' },
    ];
  } catch (error) {
    if (!(error instanceof BoundaryError)) throw error;
    return [{ what: 'libtorch', found: 'the engine does not load', advice: error.message }];
  }
}

function libtorch(version: string): Finding {
  const { source } = buildRecord();
  const found = `${version}${source === undefined ? '' : ` (${source})`}`;
  if (Number.parseInt(version, 10) >= 2) return { what: 'libtorch', found };
  const advice =
    'libtorch 2 decodes several times faster; install Python 3 with pip and run `npm run setup` again';
  return { what: 'libtorch', found, advice };
}

function blasOf(build: string): string {
  return (
    /BLAS_INFO=(\w+)/.exec(build)?.[1] ?? /(MKL|OpenBLAS|Accelerate)/.exec(build)?.[1] ?? 'unknown'
  );
}

/** What set-up wrote beside the addon; absent where the addon was built by hand. */
function buildRecord(): { readonly source?: string } {
  const file = join(dirname(addonPath()), 'build.json');
  if (!existsSync(file)) return {};
  try {
    const { source } = JSON.parse(readFileSync(file, 'utf8')) as { source?: unknown };
    return typeof source === 'string' ? { source } : {};
  } catch (cause) {
    const message = `${file} cannot be read (${messageOf(cause)}); run \`npm run setup\` again`;
    throw new BoundaryError('engine', message, { cause });
  }
}
