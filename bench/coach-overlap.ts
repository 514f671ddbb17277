/**
 * What a coach of one second's latency costs a step, against the same step's plays without one, on the quickstart's team:
 * `npm run bench:coach-overlap -- --plays 64 --rows 8 --json`
 *
 * `rows` bounds how many actions are sampled at once, and so how long generation takes beside the coach's queue.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { runTraining } from '../src/commands/run-training.ts';
import { resolveConfig } from '../src/config/load-config.ts';
import { openRun } from '../src/run/run-store.ts';
import { makeBaseModel } from '../teams/arithmetic/base-model.ts';
import quickstartRun from '../teams/arithmetic/teamtune.config.ts';
import { startCoachServer } from '../test/support/coach-server.ts';
import { readCount, readFlags } from './support/read-flags.ts';

const values = readFlags('coach-overlap', {
  plays: { type: 'string', default: '64', help: 'of the step' },
  rows: { type: 'string', default: '8', help: 'actions sampled at once' },
  concurrency: { type: 'string', default: '64', help: 'calls of the coach at once' },
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});
const count = (name: 'plays' | 'rows' | 'concurrency') =>
  readCount('coach-overlap', { [name]: values[name] });

const root = resolve(import.meta.dirname, '..');
const latencyMs = 1000;
const server = await startCoachServer('openai-compatible', ['good verdict'], {
  delayMs: latencyMs,
});
const model = await makeBaseModel(join(root, '.teamtune'), () => undefined);
const alone = await playSeconds('credit.source=outcome');
const coached = await playSeconds(`coach=openai-compatible/judge@${server.url}`);
// Less the check before the run.
const calls = server.calls() - 1;
await server.close();
report();

/** Seconds of one step's plays, verdicts included where there are any. */
async function playSeconds(arm: string): Promise<number> {
  const { heldOut: _, ...tasks } = quickstartRun.tasks;
  const config = resolveConfig(
    { ...quickstartRun, tasks },
    {
      ...{ directory: root, where: 'bench:coach-overlap' },
      overrides: [
        ...[arm, `model.path=${model}`, 'training.steps=1', `model.maxRows=${count('rows')}`],
        ...[`rollout.tasksPerStep=${count('plays')}`, `rollout.concurrency=${count('plays')}`],
        ...[`coaching.concurrency=${count('concurrency')}`, 'coaching.cache=false'],
      ],
    },
  );
  const silent = () => undefined;
  const watch = { waiting: silent, step: silent, evaluated: silent, note: silent };
  const directory = join(mkdtempSync(join(tmpdir(), 'teamtune-overlap-')), 'run');
  await runTraining(config, { directory, resume: false, watch });
  const run = openRun(directory, { mode: 'read' });
  const seconds = run.metrics()[0]?.metrics['play-seconds'] ?? Number.NaN;
  run.close();
  return seconds;
}

function report(): void {
  const queueSeconds = (calls / count('concurrency')) * (latencyMs / 1000);
  const inTurn = alone + queueSeconds;
  const figures = { alone, coached, ratio: coached / alone, calls, queueSeconds, inTurn };
  console.log(
    `plays alone ${alone.toFixed(1)} s; with a coach of 1 s latency (${calls} calls, a queue of ${queueSeconds.toFixed(1)} s) ${coached.toFixed(1)} s: ${(coached / alone).toFixed(2)}×; one after the other it would be ${(inTurn / alone).toFixed(2)}×`,
  );
  if (values.json) console.log(JSON.stringify(figures));
}
