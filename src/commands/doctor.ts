import { spawnSync } from 'node:child_process';
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
    const findings = [...machine(), ...engine(), ...programs()];
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
    return [libtorch(version), blas(build), cpu(build), threadsOf(threads), device(cudaDevices)];
  } catch (error) {
    if (!(error instanceof BoundaryError)) throw error;
    return [{ what: 'libtorch', found: 'the engine does not load', advice: error.message }];
  }
}

/** What agents' programs may run in besides the built-in interpreter. */
function programs(): Finding[] {
  const wrapper = answerOf('bwrap', ['--version']);
  const sandbox: Finding =
    wrapper === undefined
      ? {
          what: 'sandbox',
          found: 'pyodide only',
          advice: 'for pandas and the like: apt-get install bubblewrap (docs/tools.md)',
        }
      : { what: 'sandbox', found: `pyodide, ${wrapper}` };
  const question =
    'import pandas, sklearn; print(f"pandas {pandas.__version__}, scikit-learn {sklearn.__version__}")';
  const pythons = ['python3', '/usr/bin/python3'].flatMap((python) => {
    const versions = answerOf(python, ['-c', question]);
    return versions === undefined ? [] : [`${versions} in ${python}`];
  });
  const [found] = pythons;
  if (found !== undefined) return [sandbox, { what: 'tables', found }];
  const advice =
    'for DSBench: apt-get install python3-pandas python3-sklearn, or pip install both into a virtual environment and name it with rollout.sandbox.python';
  return [sandbox, { what: 'tables', found: 'no pandas with scikit-learn', advice }];
}

/** What a command prints, or undefined where it fails or is not there. */
function answerOf(command: string, args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
  return status === 0 ? stdout.trim() : undefined;
}

function blas(build: string): Finding {
  const found =
    /BLAS_INFO=(\w+)/.exec(build)?.[1] ?? /(MKL|OpenBLAS|Accelerate)/.exec(build)?.[1] ?? 'unknown';
  if (!/open/i.test(found)) return { what: 'blas', found };
  const advice =
    'with OpenBLAS a row may have other last bits in another batch, and small products are slower; the pip build of libtorch has MKL';
  return { what: 'blas', found, advice };
}

/** The vector instructions that libtorch's kernels use here. */
function cpu(build: string): Finding {
  const found = /CPU capability usage: (\S+)/.exec(build)?.[1] ?? 'unknown';
  if (found !== 'DEFAULT' && found !== 'NO AVX') return { what: 'cpu', found };
  const advice = 'libtorch uses no vector instructions; is ATEN_CPU_CAPABILITY set?';
  return { what: 'cpu', found, advice };
}

function threadsOf(threads: number): Finding {
  const found = `${threads} for the engine`;
  const cores = availableParallelism();
  if (threads >= cores / 2) return { what: 'threads', found };
  const advice = `${cores} cores are there; set model.threads, or unset OMP_NUM_THREADS`;
  return { what: 'threads', found, advice };
}

function device(cudaDevices: number): Finding {
  if (cudaDevices > 0) return { what: 'device', found: `cpu and ${cudaDevices} CUDA` };
  const hasDriver = existsSync('/proc/driver/nvidia/version');
  if (!hasDriver) return { what: 'device', found: 'cpu only' };
  const advice =
    'there is an NVIDIA GPU that this libtorch cannot use; remove .teamtune/libtorch and run `npm run setup` for the CUDA build';
  return { what: 'device', found: 'cpu only', advice };
}

function libtorch(version: string): Finding {
  const { source } = buildRecord();
  const found = `${version}${source === undefined ? '' : ` (${source})`}`;
  if (Number.parseInt(version, 10) >= 2) return { what: 'libtorch', found };
  const advice =
    'libtorch 2 decodes several times faster; install Python 3 with pip and run `npm run setup` again';
  return { what: 'libtorch', found, advice };
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
