import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openRun } from '../run/run-store.ts';
import { checkpointsDirectory } from './checkpoint-directory.ts';
import { restorePoint } from './restore-point.ts';
import { saveCheckpoint } from './save-checkpoint.ts';

/** A run with three completed steps, of which the last two have their checkpoints. */
async function runOfThreeSteps() {
  const directory = join(mkdtempSync(join(tmpdir(), 'teamtune-restore-')), 'run');
  const run = openRun(directory, { mode: 'create' });
  for (const step of [1, 2, 3]) {
    const write = async (folder: string) => writeFileSync(join(folder, 'weights'), `${step}`);
    const { name } = await saveCheckpoint({ directory, step, keep: 2, write });
    run.completeStep(step, name, { reward: step });
  }
  const notes: string[] = [];
  const restore = () => restorePoint(run, (text) => notes.push(text));
  const folderOf = (step: number) => join(checkpointsDirectory(run.directory), `step-00000${step}`);
  return { run, notes, restore, folderOf };
}

it('is the newest completed step', async () => {
  const { run, notes, restore, folderOf } = await runOfThreeSteps();
  expect(await restore()).toEqual({ step: 3, directory: folderOf(3) });
  expect(notes).toEqual([]);
  expect(run.lastCompletedStep()).toBe(3);
});

it('is the step before one whose checkpoint is damaged, which then counts as open, and says so', async () => {
  const { run, notes, restore, folderOf } = await runOfThreeSteps();
  truncateSync(join(folderOf(3), 'weights'));
  expect(await restore()).toEqual({ step: 2, directory: folderOf(2) });
  expect(notes).toEqual([expect.stringContaining('weights has 0 bytes, expected 1')]);
  expect(notes).toEqual([expect.stringContaining('Going on from step 2')]);
  expect(run.lastCompletedStep()).toBe(2);
  expect(run.metrics().map(({ step }) => step)).toEqual([1, 2, 3]);
  run.completeStep(3, 'step-000003', { reward: 3 });
});

it('is refused with the newest fault when no checkpoint is whole, and changes nothing', async () => {
  const { run, restore, folderOf } = await runOfThreeSteps();
  rmSync(folderOf(2), { recursive: true });
  truncateSync(join(folderOf(3), 'weights'));
  await expect(restore()).rejects.toThrow('weights has 0 bytes, expected 1');
  expect(run.lastCompletedStep()).toBe(3);
});
