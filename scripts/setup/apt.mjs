import { step } from './progress.mjs';
import { findProgram, runCommand } from './run-command.mjs';

/** @returns {boolean} whether this process may install Debian packages: root, as in a container, and apt-get is there */
export const mayUseApt = () => process.getuid?.() === 0 && findProgram('apt-get') !== undefined;

/**
 * @param {readonly string[]} packages Debian packages
 * @returns {Promise<boolean>} whether they are installed now
 */
export async function aptInstall(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const args = ['install', '-y', '--no-install-recommends', ...packages];
  return await step(`installing ${packages.join(' ')} with apt-get`, async () => {
    const first = await runCommand('apt-get', args, { env });
    if (first.code === 0) return true;
    await runCommand('apt-get', ['update'], { env });
    return (await runCommand('apt-get', args, { env })).code === 0;
  });
}
