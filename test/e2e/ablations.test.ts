import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';

const config = fileURLToPath(new URL('../../teams/mathchat/teamtune.config.ts', import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-ablations-'));
  await makeRandomModel(join(folder, 'model'));
  const tasks = [{ prompt: 'What is 1 + 1?', answer: '2' }];
  await writeFile(join(folder, 'tasks.json'), JSON.stringify(tasks));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** MathChat at its smallest, without a coach, with one flag more. */
function mathchat(command: string, output: string, ...flags: readonly string[]) {
  const sets = [
    ...[`model.path=${join(folder, 'model')}`, `tasks.train=${join(folder, 'tasks.json')}`],
    ...[`tasks.heldOut=${join(folder, 'tasks.json')}`, 'tasks.sample=1', 'training.steps=1'],
    ...['credit.source=outcome', 'rollout.tasksPerStep=1', 'rollout.maxActionTokens=8'],
    'evaluation.samplesPerTask=1',
  ];
  const all = sets.flatMap((set) => ['--set', set]);
  return runCli([command, config, '--output', join(folder, output), ...all, ...flags]);
}

test('a shared policy is one adapter that all agents play, and its checkpoint says so', async () => {
  const { code, stderr } = await mathchat('train', 'shared', '--set', 'adapter.shared=true');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const run = openRun(join(folder, 'shared'), { mode: 'read' });
  const played = run.actionsOf(1).map(({ agent, policy }) => `${agent} ${policy.id}`);
  run.close();
  expect(new Set(played)).toEqual(new Set(['solver shared', 'executor shared', 'verifier shared']));
  const checkpoint = join(folder, 'shared', 'checkpoints', 'step-000001');
  expect((await readdir(checkpoint)).toSorted()).toEqual(['manifest.json', 'shared']);
  const apart = await mathchat('evaluate', 'apart', '--checkpoint', checkpoint);
  expect(apart.code).toBe(2);
  expect(apart.stderr).toContain('its agents share one: set adapter.shared=true');
}, 120_000);

test('the single-agent variant is one solver who answers alone', async () => {
  const { code, stderr } = await mathchat('train', 'single', '--set', 'variant=single-agent');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const run = openRun(join(folder, 'single'), { mode: 'read' });
  const agents = run.actionsOf(1).map(({ agent }) => agent);
  run.close();
  expect(new Set(agents)).toEqual(new Set(['solver']));
}, 120_000);
