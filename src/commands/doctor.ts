import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { addonPath, describeEngine, type EngineDescription } from '../engine/native.ts';
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
    if (!request.json) {
      for (const finding of findings) console.log(describe(finding));
      if (findings.every(({ advice }) => advice === undefined)) console.log('nothing is missing');
    }
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
    const description = describeEngine();
    const { version, threads, build } = description;
    const record = buildRecord();
    return [
      ...[libtorch(version, record), blas(build), cpu(build), kernels(record)],
      ...[threadsOf(threads), device(description, record)],
    ];
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
  const name =
    /BLAS_INFO=(\w+)/.exec(build)?.[1] ?? /(MKL|OpenBLAS|Accelerate)/.exec(build)?.[1] ?? 'unknown';
  const found = name === 'mkl' ? 'MKL' : name;
  if (/mkl|accelerate/i.test(found)) return { what: 'blas', found };
  const advice =
    'without MKL a row may have other last bits in another batch, and small products are slower; the pip build of libtorch has MKL';
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

/** What the addon's own kernels run on (docs/decisions/0006-own-kernels.md). */
function kernels({ flags }: BuildRecord): Finding {
  if (flags === undefined) return { what: 'kernels', found: 'built by hand' };
  if (flags.includes('-fopenmp')) return { what: 'kernels', found: "on libtorch's threads" };
  const advice =
    'only GCC on Linux shares threads with libtorch; with g++ installed, remove native/build and run `npm run setup`';
  return { what: 'kernels', found: 'on one thread', advice };
}

function device(
  { cudaDevices, hasCudaGraphs }: EngineDescription,
  { source }: BuildRecord,
): Finding {
  if (cudaDevices > 0) {
    const graphs = hasCudaGraphs ? 'graphs for decoding (model.decodeGraphs)' : 'no graphs';
    return { what: 'device', found: `cpu and ${cudaDevices} CUDA (model.device), ${graphs}` };
  }
  const hasDriver = existsSync('/proc/driver/nvidia/version');
  if (!hasDriver) return { what: 'device', found: 'cpu only, no NVIDIA driver is loaded' };
  const remedy =
    source === 'private'
      ? 'remove .teamtune/libtorch and run `npm run setup` for the CUDA build'
      : 'install a libtorch with CUDA there, or unset what names it, and run `npm run setup`';
  const advice = `there is an NVIDIA GPU that this libtorch cannot use; ${remedy}`;
  return { what: 'device', found: 'cpu only', advice };
}

/** Where libtorch came from, by what set-up calls it. */
const sources: Readonly<Record<string, string>> = {
  private: "the project's own, in .teamtune/libtorch",
  python: "that of Python's torch package",
  environment: 'named by TEAMTUNE_LIBTORCH',
  system: "the system's package",
};

function libtorch(version: string, { source }: BuildRecord): Finding {
  const found = `${version}${source === undefined ? '' : `, ${sources[source] ?? source}`}`;
  if (Number.parseInt(version, 10) >= 2) return { what: 'libtorch', found };
  const advice =
    'libtorch 2 decodes several times faster; install Python 3 with pip and run `npm run setup` again';
  return { what: 'libtorch', found, advice };
}

type BuildRecord = { readonly source?: string; readonly flags?: readonly string[] };

const record = z.looseObject({
  source: z.string().optional(),
  flags: z.array(z.string()).optional(),
});

/** What set-up wrote beside the addon; empty where the addon was built by hand. */
function buildRecord(): BuildRecord {
  const file = join(dirname(addonPath()), 'build.json');
  if (!existsSync(file)) return {};
  try {
    const { source, flags } = record.parse(JSON.parse(readFileSync(file, 'utf8')));
    return { ...(source && { source }), ...(flags && { flags }) };
  } catch (cause) {
    const message = `${file} cannot be read (${messageOf(cause)}); run \`npm run setup\` again`;
    throw new BoundaryError('engine', message, { cause });
  }
}
