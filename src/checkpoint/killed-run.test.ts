import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createRandom } from '../random.ts';
import { openRun } from '../run/run-store.ts';
import { latestCheckpoint } from './checkpoint-directory.ts';
import { restoreCheckpoint } from './restore-checkpoint.ts';

const program = fileURLToPath(new URL('../../test/support/killed-run.ts', import.meta.url));

/** Kills the writer once it has reported so many lines after its start, and returns what it reported as written. */
async function killedAfter(directory: string, mode: string, lines: number) {
  const child = spawn(process.execPath, [program, directory, mode]);
  let [output, errors] = ['', ''];
  child.stderr.on('data', (data) => {
    errors += String(data);
  });
  // Lines, not milliseconds: how far it has come must not depend on how fast the machine is. The writer does not wait
  // for the signal, so it is anywhere in its next writes when it dies.
  const due = new Promise<void>((resolve) => {
    child.stdout.on('data', (data) => {
      output += String(data);
      const [, ...reported] = output.split('ready\n');
      if (reported.join('').split('\n').length > lines) resolve();
    });
    child.once('exit', () => resolve());
  });
  // Not `exit`: what the pipe still holds must be read too.
  const ended = new Promise((resolve) => child.once('close', resolve));
  await due;
  expect(child.exitCode, errors).toBeNull();
  child.kill('SIGKILL');
  await ended;
  return output.slice(0, output.lastIndexOf('\n')).split('\n');
}

/** Everything up to the last recorded thing is there, and nothing after it. */
async function expectPrefix(directory: string, reported: readonly string[]) {
  const run = openRun(directory, { mode: 'read' });
  const last = run.lastCompletedStep() ?? 0;
  expect(run.completedSteps().map(({ step }) => step)).toEqual(
    Array.from({ length: last }, (_, at) => at + 1),
  );
  expect(run.metrics()).toHaveLength(last);
  for (let step = 1; step <= last + 1; step++) {
    const turns = run.actionsOf(step).map(({ turn }) => turn);
    expect(turns).toEqual(turns.map((_, at) => at));
    expect(turns.length - run.feedbackOf(step).size).toBeLessThanOrEqual(1);
    if (step <= last) expect(run.trajectoriesOf(step)[0]?.actions).toHaveLength(10);
  }
  expect(run.actionsOf(last + 2)).toEqual([]);
  for (const line of reported) {
    const [kind, name = ''] = line.split(' ');
    if (kind === 'step') expect(last).toBeGreaterThanOrEqual(Number(name));
    if (kind !== 'action') continue;
    const ids = run.actionsOf(Number(name.split('/')[0])).map(({ id }) => id);
    expect(ids).toContain(name);
  }
  run.close();
  if (last === 0) return last;
  const checkpoint = latestCheckpoint(directory, { upTo: last });
  expect(checkpoint?.step).toBe(last);
  const { manifest } = await restoreCheckpoint(checkpoint?.directory ?? '');
  expect(manifest.step).toBe(last);
  return last;
}

test('A run killed 30 times at random moments keeps all it reported and its last step restores', async () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'teamtune-killed-')), 'run');
  const random = createRandom(11);
  let last = 0;
  for (let kill = 0; kill < 30; kill++) {
    const mode = kill === 0 ? 'create' : 'resume';
    const reported = await killedAfter(directory, mode, random.integer(40));
    const now = await expectPrefix(directory, reported);
    expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
  expect(last).toBeGreaterThan(10);
}, 180_000);
