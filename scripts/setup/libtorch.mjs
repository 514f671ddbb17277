import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { privateLibtorch } from './places.mjs';
import { findProgram, runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * A libtorch on this machine: where its headers and libraries are.
 *
 * @typedef {object} Libtorch
 * @property {'environment' | 'python' | 'private' | 'system'} source
 * @property {string} include
 * @property {string} lib
 * @property {string} version such as 2.13.0
 * @property {boolean} hasCuda
 */

const libraryExtension = process.platform === 'darwin' ? 'dylib' : 'so';
const oldestVersion = '1.13.0';
const oldestPythonVersion = '2.0.0';

/** @param {string} name such as torch_cpu */
export const libraryName = (name) => `lib${name}.${libraryExtension}`;

/**
 * @param {string} left
 * @param {string} right
 * @returns {boolean} whether version `left` is `right` or newer
 */
export function isAtLeast(left, right) {
  const [a = [], b = []] = [left, right].map((version) => version.split('.').map(Number));
  for (const [index, wanted] of b.entries()) {
    const got = a[index] ?? 0;
    if (got !== wanted) return got > wanted;
  }
  return true;
}

/** @param {string} include */
function readVersion(include) {
  const headers = ['torch/headeronly/version.h', 'torch/csrc/api/include/torch/version.h'];
  for (const header of headers) {
    const file = join(include, header);
    if (!existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    const part = (/** @type {string} */ name) =>
      new RegExp(`#define TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1];
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map(part);
    if (parts.every((number) => number !== undefined)) return parts.join('.');
  }
  return undefined;
}

/**
 * @param {Libtorch['source']} source
 * @param {string} include
 * @param {string} lib
 * @returns {Libtorch | string} the libtorch, or what is missing in it
 */
export function readLibtorch(source, include, lib) {
  for (const library of ['torch_cpu', 'c10']) {
    if (!existsSync(join(lib, libraryName(library))))
      return `${join(lib, libraryName(library))} is missing`;
  }
  if (!existsSync(join(include, 'ATen', 'ATen.h')))
    return `${join(include, 'ATen', 'ATen.h')} is missing`;
  const version = readVersion(include);
  if (version === undefined) return `${include} does not say its version in torch/version.h`;
  const oldest = source === 'python' ? oldestPythonVersion : oldestVersion;
  if (!isAtLeast(version, oldest)) return `its version is ${version}, older than ${oldest}`;
  return {
    source,
    include,
    lib,
    version,
    hasCuda: existsSync(join(lib, libraryName('torch_cuda'))),
  };
}

/**
 * @param {Libtorch['source']} source
 * @param {string} folder with include/ and lib/
 */
const readFolder = (source, folder) =>
  readLibtorch(source, join(folder, 'include'), join(folder, 'lib'));

/** @returns {Libtorch | undefined} what TEAMTUNE_LIBTORCH names; a wrong folder is an error, not a reason to look elsewhere */
export function fromEnvironment() {
  const folder = process.env.TEAMTUNE_LIBTORCH;
  if (!folder) return undefined;
  const found = readFolder('environment', folder);
  if (typeof found !== 'string') return found;
  throw new SetupError(`TEAMTUNE_LIBTORCH is ${folder}, but ${found}.`, {
    hints: [
      'It must name a folder with include/ and lib/ of libtorch 1.13 or newer; unset it to let set-up find or fetch one.',
    ],
  });
}

/** @returns {Promise<Libtorch | undefined>} the libtorch inside the Python package `torch`, when python3 would import it */
export async function fromPython() {
  // find_spec does not import: importing torch takes seconds.
  const code =
    'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")';
  for (const python of ['python3', 'python']) {
    if (findProgram(python) === undefined) continue;
    const result = await runCommand(python, ['-c', code]);
    const folder = result.output.trim();
    if (result.code !== 0 || folder === '') continue;
    const found = readFolder('python', folder);
    if (typeof found !== 'string') return found;
  }
  return undefined;
}

/** @returns {Libtorch | undefined} the libtorch that an earlier set-up installed into this project */
export function fromPrivateFolder() {
  const found = readFolder('private', join(privateLibtorch, 'torch'));
  return typeof found === 'string' ? undefined : found;
}

/** @returns {Libtorch | undefined} the libtorch of Debian's libtorch-dev or of Homebrew's pytorch */
export function fromSystem() {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const places = [
    ['/usr/include', join('/usr/lib', triplet)],
    ['/usr/include', '/usr/lib64'],
    ['/opt/homebrew/opt/pytorch/include', '/opt/homebrew/opt/pytorch/lib'],
    ['/usr/local/opt/pytorch/include', '/usr/local/opt/pytorch/lib'],
  ];
  for (const [include = '', lib = ''] of places) {
    const found = readLibtorch('system', include, lib);
    if (typeof found !== 'string') return found;
  }
  return undefined;
}

/** @returns {Promise<boolean>} whether this machine shows an NVIDIA GPU */
export async function hasNvidiaGpu() {
  if (findProgram('nvidia-smi') === undefined) return false;
  const result = await runCommand('nvidia-smi', ['-L']);
  return result.code === 0 && result.output.includes('GPU 0');
}
