import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { privateFolder } from './places.mjs';
import { say } from './progress.mjs';

const lockFile = join(privateFolder, 'setup.lock');
const pollMs = 300;

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, but belongs to someone else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** @returns {Promise<number | undefined>} the process that holds the lock; undefined when we took it just now */
async function tryToTake() {
  try {
    await writeFile(lockFile, String(process.pid), { flag: 'wx' });
    return undefined;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const text = await readFile(lockFile, 'utf8').catch(() => '');
  return Number.parseInt(text, 10);
}

/**
 * A killed set-up leaves its lock behind. Moving it aside first lets only one of several waiters clear it.
 *
 * @param {number} deadPid
 */
async function clearStale(deadPid) {
  const aside = `${lockFile}.${process.pid}`;
  await rename(lockFile, aside).catch(() => undefined);
  const moved = await readFile(aside, 'utf8').catch(() => '');
  const isSomeoneElses = moved !== '' && Number.parseInt(moved, 10) !== deadPid;
  if (isSomeoneElses) await rename(aside, lockFile).catch(() => undefined);
  else await rm(aside, { force: true });
}

async function take() {
  let hasSaidSo = false;
  for (;;) {
    const holder = await tryToTake();
    if (holder === undefined) return;
    if (Number.isNaN(holder)) {
      // Created but not yet written, or left empty by a full disk: give the writer a moment, then clear it.
      await sleep(pollMs);
      const text = await readFile(lockFile, 'utf8').catch(() => 'gone');
      if (text === '') await rm(lockFile, { force: true });
      continue;
    }
    if (!isAlive(holder)) {
      await clearStale(holder);
      continue;
    }
    if (!hasSaidSo) say(`waiting for another set-up of this folder (process ${holder})`);
    hasSaidSo = true;
    await sleep(pollMs);
  }
}

/**
 * Runs `work` while no other set-up of this folder runs.
 *
 * @param {() => Promise<void>} work
 */
export async function withSetupLock(work) {
  await mkdir(privateFolder, { recursive: true });
  await take();
  try {
    await work();
  } finally {
    await rm(lockFile, { force: true });
  }
}
