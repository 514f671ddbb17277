import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { generateArithmeticTasks } from '../../src/task/arithmetic.ts';
import { makeBaseModel } from '../../teams/arithmetic/base-model.ts';
import { countRows, endWhen, factsOf, killAtEach } from '../support/killed-training.ts';
import { runCli } from '../support/run-cli.ts';

const config = fileURLToPath(new URL('../../teams/arithmetic/teamtune.config.ts', import.meta.url));
const cache = fileURLToPath(new URL('../../.teamtune', import.meta.url));
let folder: string;
let whole: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-staleness-'));
  await makeBaseModel(cache, () => undefined);
  const heldOut = generateArithmeticTasks({ count: 8, seed: 1, split: 'held-out' });
  await writeFile(join(folder, 'held-out.json'), JSON.stringify(heldOut));
  whole = join(folder, 'whole');
  const { code, stderr } = await runCli(trainTo(whole));
  expect(code, stderr).toBe(0);
}, 600_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const trainTo = (output: string) => [
  ...[
    'train',
    config,
    '--output',
    output,
    '--set',
    `tasks.heldOut=${join(folder, 'held-out.json')}`,
  ],
  ...['--set', 'training.steps=3', '--set', 'rollout.tasksPerStep=8', '--set', 'model.threads=1'],
  ...['--set', 'rollout.maxStalenessSteps=1'],
];

/** The version of the solver's policy that played each step. */
function versionsOf(directory: string) {
  const run = openRun(directory, { mode: 'read' });
  const played = ['1', '2', '3'].map((step) => {
    const own = run.actionsOf(step).filter(({ agent }) => agent === 'solver');
    return [...new Set(own.map(({ policy: { id, version } }) => `${id} ${version}`))];
  });
  run.close();
  return played;
}

function forgetPlays(directory: string, step: string): void {
  const database = new DatabaseSync(join(directory, 'run.db'));
  const own = `${step}/%`;
  database.prepare('DELETE FROM feedback WHERE action_id LIKE ?').run(own);
  database.prepare('DELETE FROM outcomes WHERE trajectory_id LIKE ?').run(own);
  for (const table of ['trajectories', 'actions']) {
    database.prepare(`DELETE FROM ${table} WHERE scope = ?`).run(step);
  }
  database.close();
}

test('plays ahead of training are those of the step before, corrected; killed and resumed, the run ends with the same numbers', async () => {
  const facts = factsOf(whole);
  const values = facts.metrics.map((step) => new Map(step.values));
  expect(values.map((step) => step.get('staleness'))).toEqual([0, 1, 1]);
  expect(values.map((step) => step.has('logprob-gap/solver'))).toEqual([true, false, false]);
  expect(values[1]?.get('truncated-ratios/solver')).toBeGreaterThanOrEqual(0);
  const perStep = values[0]?.get('optimizer-steps/solver') ?? 0;
  expect(versionsOf(whole)).toEqual([0, 0, perStep].map((version) => [`solver ${version}`]));

  const killed = join(folder, 'killed');
  const count = (table: string, where: string) => countRows(killed, table, where);
  const { code: end, stderr: said } = await killAtEach(trainTo(killed), [
    // The next step's plays, before this one is completed and after.
    () => count('actions', "scope = '2'") > 5,
    () => count('steps', 'step = 1') > 0 && count('actions', "scope = '3'") > 5,
  ]);
  expect(end, said).toBe(0);
  expect(said).toBe('');
  expect(factsOf(killed)).toEqual(facts);
  expect(versionsOf(killed)).toEqual(versionsOf(whole));
}, 240_000);

test('a run that starts from a checkpoint plays from there, ahead of training, too; killed and resumed, it ends with the same numbers', async () => {
  const checkpoint = join(whole, 'checkpoints', 'step-000003');
  const perStep = Number(new Map(factsOf(whole).metrics[0]?.values).get('optimizer-steps/solver'));
  const frozen = ['--set', 'training.frozen=["executor"]'];
  const from = (output: string) => [...trainTo(output), '--checkpoint', checkpoint, ...frozen];
  const started = join(folder, 'started');
  const { code, stderr, stdout } = await runCli(from(started));
  expect(code, stderr).toBe(0);
  expect(stdout).toContain('evaluation start: team');
  expect(factsOf(started).evaluations.map(({ name }) => name)).toEqual(['start', 'trained']);
  expect(versionsOf(started)).toEqual([3, 3, 4].map((step) => [`solver ${step * perStep}`]));
  // Of an agent that is not trained the last checkpoint is the first.
  const executor = join('executor', 'adapter_model.safetensors');
  const last = join(started, 'checkpoints', 'step-000003', executor);
  expect(await readFile(last)).toEqual(await readFile(join(checkpoint, executor)));

  const killed = join(folder, 'started-killed');
  const hasStepped = () => countRows(killed, 'steps', 'step = 1') > 0;
  expect((await endWhen(from(killed), hasStepped, 'SIGKILL')).signal).toBe('SIGKILL');
  // As if the second step's plays, by the policies that the run began with, had not come so far.
  forgetPlays(killed, '2');
  const end = await runCli([...from(killed), '--resume']);
  expect(end.code, end.stderr).toBe(0);
  expect(factsOf(killed)).toEqual(factsOf(started));

  const branch = ['branch', started, config, '--step', '1', '--sample', '2', '--leaves', '2'];
  const branched = await runCli([...branch, '--set', 'model.threads=1']);
  expect(branched.code, branched.stderr).toBe(0);
  expect(branched.stdout).toContain('the policies as the run began play on');
  const record = openRun(`${started}-branches`, { mode: 'read' });
  const versions = record.actionsOf('branch:1').map(({ policy }) => policy.version);
  record.close();
  expect([...new Set(versions)]).toEqual([3 * perStep]);
}, 300_000);

test('a server that replaces published weights while it trains is refused before it is asked', async () => {
  const service = {
    kind: 'tinker',
    url: 'http://127.0.0.1:9',
    server: 'skyrl-jax',
    baseModel: 'x',
  };
  const { code, stderr } = await runCli([
    ...trainTo(join(folder, 'refused')),
    ...['--set', `service=${JSON.stringify(service)}`, '--set', 'update.maxGradNorm=false'],
  ]);
  expect(code).toBe(2);
  expect(stderr).toContain('SkyRL with its JAX backend replaces published weights while it trains');
}, 60_000);
