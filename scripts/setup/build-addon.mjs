import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { aptInstall, mayUseApt } from './apt.mjs';
import { isAtLeast, readLibtorch } from './libtorch.mjs';
import { findNode } from './npm-packages.mjs';
import { addonFile, buildFolder, buildRecordFile, nodeModules, root } from './places.mjs';
import { step } from './progress.mjs';
import { findProgram, lastLines, runCommand } from './run-command.mjs';
import { remedies, SetupError } from './setup-error.mjs';

/** @typedef {import('./libtorch.mjs').Libtorch} Libtorch */

/**
 * How the addon was made; written beside it and read by `teamtune doctor`.
 *
 * @typedef {object} BuildRecord
 * @property {Libtorch['source']} source where libtorch came from
 * @property {string} version of libtorch
 * @property {string} include
 * @property {string} lib
 * @property {boolean} hasCuda whether this libtorch brings CUDA libraries
 * @property {string} compiler first line of its --version
 * @property {readonly string[]} flags
 * @property {Readonly<Record<string, string>>} environment variables that must be set before the addon is loaded
 * @property {string} sources hash of native/ and of the flags
 * @property {string | undefined} [requested] TEAMTUNE_LIBTORCH at the time
 */

const nativeFolder = join(root, 'native');
const nodeHeaders = join(nodeModules, 'node-api-headers', 'include');
const firstCpp20Version = '2.9.0';

const baseFlags = ['-O2', '-fPIC', '-fvisibility=hidden', '-DNDEBUG'];
const linkFlags =
  process.platform === 'darwin'
    ? ['-bundle', '-undefined', 'dynamic_lookup']
    : ['-shared', '-Wl,--gc-sections'];

const nativeFiles = (/** @type {string} */ extension) =>
  readdirSync(nativeFolder)
    .filter((name) => name.endsWith(extension))
    .sort();

/** @param {readonly string[]} parts */
const hashOf = (...parts) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex');

function sourcesHash() {
  const files = [...nativeFiles('.cc'), ...nativeFiles('.h')];
  const texts = files.map((file) => `${file}\n${readFileSync(join(nativeFolder, file), 'utf8')}`);
  return hashOf(...texts, ...baseFlags, ...linkFlags, process.platform, process.arch);
}

/** @returns {BuildRecord | undefined} */
export function readBuildRecord() {
  try {
    return JSON.parse(readFileSync(buildRecordFile, 'utf8'));
  } catch {
    // Absent or cut short by a full disk: either way the addon is built again.
    return undefined;
  }
}

/** @returns {boolean} whether the addon is built from today's sources, against a libtorch that is still there */
export function isAddonReady() {
  const record = readBuildRecord();
  if (record === undefined || !existsSync(addonFile)) return false;
  if ((process.env.TEAMTUNE_LIBTORCH || undefined) !== record.requested) return false;
  if (record.sources !== sourcesHash()) return false;
  const libtorch = readLibtorch(record.source, record.include, record.lib);
  return typeof libtorch !== 'string' && libtorch.version === record.version;
}

/**
 * Wheels before 2.6 were built with the old layout of std::string, and the addon must follow.
 *
 * @param {Libtorch} libtorch
 */
function stringLayoutFlag(libtorch) {
  if (process.platform !== 'linux') return [];
  const library = readFileSync(join(libtorch.lib, 'libc10.so'));
  return [`-D_GLIBCXX_USE_CXX11_ABI=${library.includes('__cxx11') ? 1 : 0}`];
}

/**
 * The threads of our kernels must be libtorch's own: a second OpenMP library would start as many again. Without one that
 * the compiler can use, the kernels run on one thread.
 *
 * @param {Libtorch} libtorch
 * @param {string} compilerVersion
 * @returns {{ compile: string[], link: string[] }}
 */
function openMpFlags(libtorch, compilerVersion) {
  const isGnu = process.platform === 'linux' && /g\+\+|gcc/i.test(compilerVersion);
  if (!isGnu) return { compile: [], link: [] };
  const bundled = readdirSync(libtorch.lib).find((name) => /^libgomp.*\.so/.test(name));
  return { compile: ['-fopenmp'], link: [bundled === undefined ? '-lgomp' : `-l:${bundled}`] };
}

/** @param {Libtorch} libtorch */
function compileFlags(libtorch) {
  const includes = [
    nodeHeaders,
    libtorch.include,
    join(libtorch.include, 'torch/csrc/api/include'),
  ];
  return [
    `-std=c++${isAtLeast(libtorch.version, firstCpp20Version) ? 20 : 17}`,
    ...baseFlags,
    ...stringLayoutFlag(libtorch),
    // -isystem: warnings of libtorch's own headers are not ours. The compiler knows /usr/include by itself.
    ...includes
      .filter((folder) => folder !== '/usr/include')
      .flatMap((folder) => ['-isystem', folder]),
  ];
}

/**
 * The private libtorch moves with the project folder, so it is found from the addon's own place.
 *
 * @param {Libtorch} libtorch
 */
function runPath(libtorch) {
  if (libtorch.source !== 'private') return libtorch.lib;
  const origin = process.platform === 'darwin' ? '@loader_path' : '$ORIGIN';
  return `${origin}/${relative(realpathSync(buildFolder), realpathSync(libtorch.lib))}`;
}

function findCompiler() {
  const names = [process.env.CXX, 'g++', 'clang++', 'c++'];
  for (const name of names) {
    const found = name ? findProgram(name) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * @returns {Promise<string>} full path of the C++ compiler, installed where that is allowed
 * @throws {SetupError} without one
 */
export async function ensureCompiler() {
  if (findCompiler() === undefined && mayUseApt()) await aptInstall(['g++']);
  const found = findCompiler();
  if (found !== undefined) return found;
  throw new SetupError(
    'no C++ compiler (g++ or clang++) is on the PATH; it is needed once, to build the addon that calls libtorch.',
    { remedy: remedies.compiler },
  );
}

/**
 * @param {string} compiler
 * @param {readonly string[]} args
 */
async function compile(compiler, args) {
  const result = await runCommand(compiler, args, { cwd: nativeFolder });
  if (result.code === 0) return;
  const firstErrors = result.output
    .split('\n')
    .filter((line) => /error|No space left/i.test(line))
    .slice(0, 4);
  const details = firstErrors.length > 0 ? firstErrors : lastLines(result.output, 4);
  const what =
    result.code === null ? 'was stopped (out of memory?)' : `stopped with exit code ${result.code}`;
  throw new SetupError(`${compiler} ${what} while building the addon:`, { hints: details });
}

/**
 * Compiles what changed, a few files at a time; an object's name holds the hash of all it was made from.
 *
 * @param {string} compiler
 * @param {readonly string[]} flags
 * @param {string} identity what else the objects depend on: headers, libtorch's version, the compiler's
 * @returns {Promise<string[]>} the objects
 */
async function compileObjects(compiler, flags, identity) {
  const headers = nativeFiles('.h').map((file) => readFileSync(join(nativeFolder, file), 'utf8'));
  const waiting = nativeFiles('.cc').map((file) => {
    const text = readFileSync(join(nativeFolder, file), 'utf8');
    const hash = hashOf(text, ...headers, identity, ...flags).slice(0, 16);
    return { file, object: join(buildFolder, `${file.replace('.cc', '')}-${hash}.o`) };
  });
  const objects = waiting.map(({ object }) => object);
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (existsSync(next.object)) continue;
      const aside = `${next.object}.partial`;
      await compile(compiler, [...flags, '-c', next.file, '-o', aside]);
      await rename(aside, next.object);
    }
  };
  await Promise.all(
    Array.from({ length: Math.min(waiting.length, availableParallelism()) }, worker),
  );
  return objects;
}

/**
 * @param {string} file the fresh addon
 * @param {NodeJS.ProcessEnv} environment
 */
async function checkThatItLoads(file, environment) {
  const node = findNode() ?? process.execPath;
  const script = `process.dlopen({ exports: {} }, ${JSON.stringify(file)})`;
  const result = await runCommand(node, ['-e', script], {
    env: { ...process.env, ...environment },
  });
  if (result.code === 0) return;
  const reason =
    lastLines(result.output, 40).find((line) => line.includes('Error')) ??
    lastLines(result.output, 1)[0];
  throw new SetupError('the addon was built, but this libtorch does not load:', {
    hints: [reason ?? 'no reason given'],
  });
}

/** @param {readonly string[]} kept names of the objects of today's build */
async function removeOldObjects(kept) {
  for (const name of await readdir(buildFolder)) {
    const path = join(buildFolder, name);
    const isOld = /\.(o|partial|node-\d+)$/.test(name) && !kept.includes(path);
    if (isOld) await rm(path, { force: true });
  }
}

/**
 * Builds native/build/teamtune.node against one libtorch and checks that it loads.
 *
 * @param {Libtorch} libtorch
 * @throws {SetupError} without a compiler, or when compiling or loading fails
 */
export async function buildAddon(libtorch) {
  const compiler = await ensureCompiler();
  const sources = sourcesHash();
  // Debian's libtorch sits on OpenBLAS, whose threads and libtorch's fight over the cores.
  const environment =
    libtorch.source === 'system' && process.platform === 'linux'
      ? { OPENBLAS_NUM_THREADS: '1' }
      : {};
  await step(
    `building the addon against libtorch ${libtorch.version} (${libtorch.source})`,
    async () => {
      await mkdir(buildFolder, { recursive: true });
      const compilerVersion =
        lastLines((await runCommand(compiler, ['--version'])).output, 99)[0] ?? compiler;
      const openMp = openMpFlags(libtorch, compilerVersion);
      const flags = [...compileFlags(libtorch), ...openMp.compile];
      const objects = await compileObjects(
        compiler,
        flags,
        `${libtorch.version} ${compilerVersion}`,
      );
      const aside = `${addonFile}-${process.pid}`;
      const libraries = [
        '-L',
        libtorch.lib,
        '-ltorch_cpu',
        '-lc10',
        ...openMp.link,
        '-ldl',
        `-Wl,-rpath,${runPath(libtorch)}`,
      ];
      await compile(compiler, [...linkFlags, ...objects, '-o', aside, ...libraries]);
      await checkThatItLoads(aside, environment);
      /** @type {BuildRecord} */
      const record = {
        source: libtorch.source,
        version: libtorch.version,
        include: libtorch.include,
        lib: libtorch.lib,
        hasCuda: libtorch.hasCuda,
        compiler: compilerVersion,
        flags,
        environment,
        sources,
        requested: process.env.TEAMTUNE_LIBTORCH || undefined,
      };
      // The record goes last: without it the addon counts as not built.
      await rm(buildRecordFile, { force: true });
      await rename(aside, addonFile);
      await writeFile(`${buildRecordFile}.partial`, `${JSON.stringify(record, null, 2)}\n`);
      await rename(`${buildRecordFile}.partial`, buildRecordFile);
      await removeOldObjects(objects);
    },
  );
}
