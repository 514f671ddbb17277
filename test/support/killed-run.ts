/**
 * A process that trains nothing but writes like a run that does, as fast as it can, until it is killed: actions,
 * feedback, a checkpoint, then the finished step. It prints what it has written right after the call that wrote it.
 */
import { mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  latestCheckpoint,
  removeUnfinishedCheckpoints,
} from '../../src/checkpoint/checkpoint-directory.ts';
import { restoreCheckpoint } from '../../src/checkpoint/restore-checkpoint.ts';
import { saveCheckpoint } from '../../src/checkpoint/save-checkpoint.ts';
import { openRun } from '../../src/run/run-store.ts';
import { sampleAction, sampleTrajectory } from './sample-run.ts';

const directory = process.argv[2] ?? '';
const run = openRun(directory, { mode: process.argv[3] === 'create' ? 'create' : 'resume' });
removeUnfinishedCheckpoints(directory);
const last = run.lastCompletedStep();
if (last !== undefined) {
  const checkpoint = latestCheckpoint(directory, { upTo: last });
  await restoreCheckpoint(checkpoint?.directory ?? 'no checkpoint');
}
report('ready');
for (let step = (last ?? 0) + 1; ; step++) await play(step);

async function play(step: number): Promise<void> {
  const known = new Set(run.actionsOf(step).map(({ id }) => id));
  const id = `${step}/t/0`;
  const actions = Array.from({ length: 10 }, (_, turn) => sampleAction(`${id}/${turn}`));
  for (const action of actions) {
    if (!known.has(action.id)) run.recordAction(step, action);
    report(`action ${action.id}`);
    run.recordFeedback({ kind: 'unscored', actionId: action.id, cause: 'test' });
  }
  run.recordTrajectory(step, sampleTrajectory(id, actions));
  const write = async (folder: string) => {
    mkdirSync(join(folder, 'solver'));
    writeFileSync(join(folder, 'solver', 'adapter_model.safetensors'), Buffer.alloc(200_000, step));
  };
  const checkpoint = await saveCheckpoint({ directory, step, keep: 2, write });
  run.completeStep(step, checkpoint.name, { step });
  report(`step ${step}`);
}

function report(line: string): void {
  writeSync(1, `${line}\n`);
}
