// Sets the repository up: npm packages, the pinned Node, libtorch, the addon. Runs on Node 20 too, before any package is there.
import { pathToFileURL } from 'node:url';
import { buildAddon, ensureCompiler, isAddonReady } from './setup/build-addon.mjs';
import { installLibtorch } from './setup/install-libtorch.mjs';
import { fromEnvironment, fromPrivateFolder, fromPython } from './setup/libtorch.mjs';
import { withSetupLock } from './setup/lock.mjs';
import { arePackagesReady, installPackages } from './setup/npm-packages.mjs';
import { say } from './setup/progress.mjs';
import { explainFileError, outsideFailure, SetupError } from './setup/setup-error.mjs';

/** Builds against the first libtorch that works: one asked for, Python's, the private one, a freshly fetched one. */
async function makeAddon() {
  // Before libtorch is fetched: nobody should wait for 540 MB to read that a compiler is missing.
  await ensureCompiler();
  const requested = fromEnvironment();
  if (requested) return await buildAddon(requested);
  for (const find of [fromPython, async () => fromPrivateFolder()]) {
    const libtorch = await find();
    if (libtorch === undefined) continue;
    try {
      return await buildAddon(libtorch);
    } catch (error) {
      const isItsFault = error instanceof SetupError && error.message.includes('does not load');
      if (!isItsFault) throw error;
      say(
        `the libtorch ${libtorch.version} in ${libtorch.lib} does not load (${error.hints[0]}): trying another`,
      );
    }
  }
  await buildAddon(await installLibtorch());
}

/**
 * Makes everything ready that is not; silent and quick when all is there.
 *
 * @throws {SetupError} with what is missing and the commands to get it
 */
export async function setUp() {
  if (process.platform === 'win32') {
    throw new SetupError(
      'teamtune runs on Linux and macOS; on Windows use it inside WSL (https://aka.ms/wsl).',
    );
  }
  if (arePackagesReady() && isAddonReady()) return;
  await withSetupLock(async () => {
    if (!arePackagesReady()) await installPackages();
    if (!isAddonReady()) await makeAddon();
  });
}

/**
 * Runs set-up and ends the process with a clear sentence where it cannot be done.
 */
export async function setUpOrExit() {
  try {
    await setUp();
  } catch (error) {
    const explained = explainFileError(error);
    if (!(explained instanceof SetupError)) throw explained;
    process.stderr.write(explained.explain());
    process.exit(outsideFailure);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await setUpOrExit();
  say('everything is ready');
}
