import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { aptInstall, mayUseApt } from './apt.mjs';
import { fromPrivateFolder, fromSystem, hasNvidiaGpu, libraryName } from './libtorch.mjs';
import { privateFolder, privateLibtorch } from './places.mjs';
import { say, step } from './progress.mjs';
import { findProgram, lastLines, runCommand } from './run-command.mjs';
import { remedies, SetupError } from './setup-error.mjs';

/** @typedef {import('./libtorch.mjs').Libtorch} Libtorch */

const torch = 'torch==2.13.0';
/** The Linux wheel is a CUDA build, but its libtorch_cpu.so needs only these two of the CUDA libraries. */
const cudaLibrariesOfCpuPart = ['nvidia-cuda-runtime==13.0.96', 'nvidia-cuda-cupti==13.0.85'];
/** Any CPython's wheel carries the same C++ library, so the machine's own Python version does not matter. */
const wheelFlags = ['--python-version', '3.12', '--implementation', 'cp', '--only-binary=:all:'];

const gigabyte = 1e9;
const cpuInstallBytes = 2.2 * gigabyte;
const gpuInstallBytes = 10 * gigabyte;

// One folder for each process: the pip of a killed set-up may live on and must not write into ours.
const scratchPrefix = 'scratch-';
const scratch = join(privateFolder, `${scratchPrefix}${process.pid}`);
const partialFolder = join(scratch, 'libtorch');
const temporaryFolder = join(scratch, 'tmp');
const pipVenv = join(scratch, 'pip');

/** @typedef {readonly [program: string, ...args: string[]]} Pip */

/** Settings of the user that contradict `--target` are switched off for this one call. */
function pipEnvironment() {
  return {
    ...process.env,
    PIP_BREAK_SYSTEM_PACKAGES: '1',
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PIP_REQUIRE_VIRTUALENV: '0',
    PIP_USER: '0',
    // On the same disk as the target: a small /tmp is a common trap, and files are moved instead of copied.
    TMPDIR: temporaryFolder,
  };
}

/** @param {Pip} pip */
async function isPip([program, ...args]) {
  const result = await runCommand(program, [...args, '--version']);
  return result.code === 0;
}

/**
 * @param {string} python
 * @returns {Promise<Pip | undefined>} the pip of a virtual environment of our own
 */
async function makePipVenv(python) {
  await rm(pipVenv, { recursive: true, force: true });
  const result = await runCommand(python, ['-m', 'venv', pipVenv]);
  if (result.code !== 0) return undefined;
  return [join(pipVenv, 'bin', 'python3'), '-m', 'pip'];
}

/** @returns {Promise<Pip>} */
async function findPip() {
  const findPython = () => findProgram('python3') ?? findProgram('python');
  if (findPython() === undefined && mayUseApt()) await aptInstall(['python3-venv']);
  const python = findPython();
  if (python === undefined) {
    throw new SetupError(
      'python3 is not on the PATH; its pip is needed once, to fetch libtorch (PyTorch’s C++ library).',
      {
        remedy: remedies.python,
        hints: ownLibtorchHints,
      },
    );
  }
  /** @type {Pip} */
  const modulePip = [python, '-m', 'pip'];
  if (await isPip(modulePip)) return modulePip;
  const venvPip = await makePipVenv(python);
  if (venvPip) return venvPip;
  if (mayUseApt() && (await aptInstall(['python3-venv']))) {
    const pip = await makePipVenv(python);
    if (pip) return pip;
  }
  throw new SetupError(
    `${python} has neither pip nor venv; one of them is needed once, to fetch libtorch (PyTorch’s C++ library).`,
    {
      remedy: remedies.pip,
      hints: ownLibtorchHints,
    },
  );
}

const ownLibtorchHints = [
  'Or set TEAMTUNE_LIBTORCH to a folder with include/ and lib/ of libtorch 2.x (https://pytorch.org), or copy .teamtune/libtorch from another clone.',
];

/** @param {string} output what pip printed */
function explainPip(output) {
  const details = lastLines(output, 3);
  if (/No space left|Errno 28|Disk quota/.test(output)) {
    return new SetupError(
      'no disk space is left for libtorch (about 2.2 GB while it is installed, 0.6 GB after).',
      { isFinal: true, hints: details },
    );
  }
  if (
    /name resolution|NewConnectionError|Failed to establish|ConnectTimeout|ProxyError|Network is unreachable|Max retries/.test(
      output,
    )
  ) {
    return new SetupError(
      'pip cannot reach its package index; libtorch is fetched from there once.',
      {
        hints: [
          'Check the connection or proxy (python3 -m pip config list), then run the same command again.',
          ...ownLibtorchHints,
          ...details,
        ],
      },
    );
  }
  if (/No matching distribution|Could not find a version/.test(output)) {
    return new SetupError(
      `pip finds no ${torch} wheel for this platform (${process.platform} ${process.arch}).`,
      {
        hints: [...ownLibtorchHints, ...details],
      },
    );
  }
  return new SetupError('pip could not install libtorch; it said:', {
    hints: [...details, ...ownLibtorchHints],
  });
}

/** @param {boolean} withGpu */
async function checkSpace(withGpu) {
  const needed = withGpu ? gpuInstallBytes : cpuInstallBytes;
  const { bavail, bsize } = await statfs(privateFolder);
  const free = bavail * bsize;
  if (free >= needed) return;
  const amount = (/** @type {number} */ bytes) => `${(bytes / gigabyte).toFixed(1)} GB`;
  throw new SetupError(
    `installing libtorch needs ${amount(needed)} of free disk space, but ${privateFolder} has ${amount(free)}.`,
    {
      isFinal: true,
      hints: ['Free some space, then run the same command again.', ...ownLibtorchHints],
    },
  );
}

/**
 * @param {Pip} pip
 * @param {readonly string[]} packages
 */
async function pipInstall([program, ...args], packages) {
  const flags = [
    'install',
    '--target',
    partialFolder,
    '--no-compile',
    '--retries',
    '2',
    ...wheelFlags,
  ];
  const result = await runCommand(program, [...args, ...flags, ...packages], {
    env: pipEnvironment(),
  });
  if (result.code !== 0) throw explainPip(result.output);
}

/**
 * Deletes what only Python needs, and the CUDA half where there is no GPU: 0.5 GB stay of 1.2.
 *
 * @param {string} folder
 * @param {boolean} withGpu
 */
async function prune(folder, withGpu) {
  const inTorch = join(folder, 'torch');
  const kept = new Set(['include', 'lib', 'version.py']);
  const dropped = (await readdir(inTorch))
    .filter((name) => !kept.has(name))
    .map((name) => join(inTorch, name));
  const cudaOnly = ['torch_cuda', 'torch_cuda_linalg', 'c10_cuda', 'torch_nvshmem', 'caffe2_nvrtc'];
  const unused = ['torch_python', 'shm', 'torch', ...(withGpu ? [] : cudaOnly)];
  dropped.push(
    ...unused.map((name) => join(inTorch, 'lib', libraryName(name))),
    join(folder, 'bin'),
  );
  for (const path of dropped) await rm(path, { recursive: true, force: true });
}

/** Removes our scratch folder and those that killed set-ups left; the lock is ours, so nobody else works in one. */
async function removeScratch() {
  const names = await readdir(privateFolder);
  for (const name of names.filter((each) => each.startsWith(scratchPrefix))) {
    await rm(join(privateFolder, name), { recursive: true, force: true, maxRetries: 3 });
  }
}

/** @param {boolean} withGpu */
async function installPrivately(withGpu) {
  await removeScratch();
  await mkdir(temporaryFolder, { recursive: true });
  await checkSpace(withGpu);
  const pip = await findPip();
  const size = withGpu ? '3 GB, the CUDA build for your GPU' : '540 MB';
  await step(`fetching libtorch with pip (${torch}, ${size})`, async () => {
    const stubs = process.platform === 'linux' ? cudaLibrariesOfCpuPart : [];
    await pipInstall(pip, withGpu ? [torch] : ['--no-deps', torch, ...stubs]);
    await prune(partialFolder, withGpu);
    await rm(privateLibtorch, { recursive: true, force: true });
    await rename(partialFolder, privateLibtorch);
  });
}

async function installDebianPackage() {
  if (!mayUseApt() || !existsSync('/etc/debian_version')) return undefined;
  say('pip could not fetch libtorch: trying the older one of the system');
  return (await aptInstall(['libtorch-dev'])) ? fromSystem() : undefined;
}

/**
 * Installs libtorch into the project's own folder; where that cannot be done, falls back on the system's package.
 *
 * @returns {Promise<Libtorch>}
 */
export async function installLibtorch() {
  try {
    await installPrivately(await hasNvidiaGpu());
    const installed = fromPrivateFolder();
    if (installed) return installed;
    throw new SetupError(`pip installed ${torch}, but without include/ and lib/.`, {
      hints: ownLibtorchHints,
    });
  } catch (error) {
    // A full disk wants space, not a libtorch several times slower.
    if (!(error instanceof SetupError) || error.isFinal) throw error;
    const fallback = fromSystem() ?? (await installDebianPackage());
    if (fallback === undefined) throw error;
    say(
      `using the system's libtorch ${fallback.version}, which is slower, because ${error.message}`,
    );
    return fallback;
  } finally {
    await removeScratch();
  }
}
