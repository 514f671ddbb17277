import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { nodeModules, root } from './places.mjs';
import { step } from './progress.mjs';
import { findProgram, lastLines, runCommand } from './run-command.mjs';
import { remedies, SetupError } from './setup-error.mjs';

const stampFile = join(nodeModules, '.teamtune-stamp');
const pinnedNode = join(nodeModules, 'node', 'bin', 'node');
const oldestNode = /** @type {const} */ ([22, 18]);

function packagesHash() {
  const hash = createHash('sha256');
  for (const file of ['package.json', 'package-lock.json'])
    hash.update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/** @returns {boolean} whether node_modules holds what package.json and the lock ask for */
export function arePackagesReady() {
  if (!existsSync(stampFile) || findNode() === undefined) return false;
  return readFileSync(stampFile, 'utf8') === packagesHash();
}

/** @returns {boolean} whether the Node that runs this can run the project's TypeScript itself */
function isOwnNodeNewEnough() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
}

/** @returns {string | undefined} the Node to run teamtune with: the pinned one, else this one where it is new enough */
export function findNode() {
  if (existsSync(pinnedNode)) return pinnedNode;
  return isOwnNodeNewEnough() ? process.execPath : undefined;
}

/**
 * The environment without the project's own binaries: npm must not run on the Node that it is about to replace.
 *
 * @returns {NodeJS.ProcessEnv}
 */
function outerEnvironment() {
  const own = join(nodeModules, '.bin');
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== own);
  return { ...process.env, PATH: path.join(delimiter) };
}

/** @param {string} output what npm printed */
function explainNpm(output) {
  const code = /npm (?:error|ERR!) code (\w+)/.exec(output)?.[1];
  const details = lastLines(output.replaceAll(/^npm (?:warn|WARN).*$/gm, ''), 5);
  // The inner npm of an install script reports a full disk under another code.
  if (output.includes('ENOSPC'))
    return new SetupError('no disk space is left for the npm packages (about 500 MB).', {
      hints: details,
    });
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') {
    return new SetupError('npm may not write into the project folder, where the packages belong.', {
      hints: [
        'Clone the repository into a folder of your own, or make this one writable.',
        ...details,
      ],
    });
  }
  const isNetwork =
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET/.test(code ?? '');
  if (isNetwork) {
    return new SetupError(
      `the npm registry cannot be reached (${code}); set-up needs it once, for the packages in package-lock.json.`,
      {
        hints: [
          'Check the connection or proxy (npm config get registry), then run the same command again.',
          ...details,
        ],
      },
    );
  }
  return new SetupError(`npm install failed${code ? ` (${code})` : ''}; it said:`, {
    hints: details,
  });
}

async function npmInstall() {
  const env = outerEnvironment();
  if (findProgram('npm') === undefined) {
    throw new SetupError(
      'npm is not on the PATH; it is needed once, to install the packages in package-lock.json.',
      { remedy: remedies.npm },
    );
  }
  // --no-save: the committed lock decides, and an npm of another version must not rewrite it.
  const args = [
    'install',
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--include=dev',
  ];
  const result = await runCommand('npm', args, { cwd: root, env });
  if (result.code !== 0) throw explainNpm(result.output);
}

/**
 * The `node` package fetches its binary in an install script, which npm may be told not to run: then run it here.
 */
async function ensurePinnedNode() {
  let result = await runCommand(pinnedNode, ['--version']);
  if (result.missing) {
    const script = join(nodeModules, 'node', 'installArchSpecificPackage.js');
    result = await runCommand(process.execPath, [script], {
      cwd: dirname(script),
      env: outerEnvironment(),
    });
    if (result.code === 0) result = await runCommand(pinnedNode, ['--version']);
  }
  if (result.code === 0) return;
  // A binary that does not run here (an old glibc, say) must not be found again.
  await rm(pinnedNode, { force: true });
  if (isOwnNodeNewEnough()) return;
  throw new SetupError(
    `Node ${oldestNode.join('.')} or newer is needed to run teamtune (this is ${process.versions.node}), and the pinned one does not run here:`,
    {
      hints: [
        ...lastLines(result.output, 4),
        'Install a newer Node from https://nodejs.org, then run the same command again.',
      ],
    },
  );
}

/** Installs the npm packages, the pinned Node among them. */
export async function installPackages() {
  await step('installing npm packages', async () => {
    await npmInstall();
    await ensurePinnedNode();
  });
  const aside = `${stampFile}.${process.pid}`;
  await writeFile(aside, packagesHash());
  await rename(aside, stampFile);
}
