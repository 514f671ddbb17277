import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeBaseModel } from '../../teams/arithmetic/base-model.ts';
import { countRows, factsOf, killAtEach } from '../support/killed-training.ts';
import { runCli } from '../support/run-cli.ts';

const config = fileURLToPath(new URL('../../teams/arithmetic/teamtune.config.ts', import.meta.url));
const cache = fileURLToPath(new URL('../../.teamtune', import.meta.url));
let folder: string;
let run: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-branch-'));
  run = join(folder, 'run');
  await makeBaseModel(cache, () => undefined);
  const heldOut = join(folder, 'held-out.jsonl');
  await writeFile(heldOut, '{"id":"h","prompt":"What is 1 plus 1?","answer":"2"}\n');
  const small = ['training.steps=2', 'rollout.tasksPerStep=6', `tasks.heldOut=${heldOut}`];
  const sets = [...small, 'model.threads=1'].flatMap((key) => ['--set', key]);
  const { code, stderr } = await runCli(['train', config, '--output', run, ...sets]);
  expect(code, stderr).toBe(0);
}, 600_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const small = ['--sample', '5', '--leaves', '3', '--set', 'model.threads=1'];
const branch = (...args: readonly string[]) => runCli(['branch', run, config, ...args]);

test('actions of the last step are played on by the policies that played it; killed and resumed, it ends the same', async () => {
  const before = factsOf(run);
  const whole = await branch(...small, '--json');
  expect(whole.code, whole.stderr).toBe(0);
  const result = JSON.parse(whole.stdout);
  expect(result).toMatchObject({
    step: 2,
    policies: { after: 1, played: 1 },
    leaves: 3,
    failed: 0,
  });
  const agents = Object.values<{ actions: number }>(result.agents);
  expect(agents.reduce((sum, { actions }) => sum + actions, 0)).toBe(5);
  const output = join(folder, 'killed');
  const killed = await killAtEach(
    ['branch', run, config, ...small, '--output', output],
    [() => countRows(output, 'trajectories', "scope = 'branch:2'") > 2],
  );
  expect(killed.code, killed.stderr).toBe(0);
  const lines = (record: string) => readFile(join(record, 'branches.jsonl'), 'utf8');
  expect(await lines(output)).toBe(await lines(`${run}-branches`));
  expect(killed.stdout).toContain('5 of ');
  expect(killed.stdout).toContain(
    'the policies as step 1 left them play on, which played step 2\nagent ',
  );
  expect(factsOf(run)).toEqual(before);
}, 300_000);

test('other policies than those that played are named; what cannot be branched from is refused in one sentence', async () => {
  const refused = async (args: readonly string[], code: number, sentence: string) => {
    const result = await branch(...args);
    expect(result.stderr).toContain(sentence);
    expect(result.code).toBe(code);
    expect(result.stderr.trim().split('\n')).toHaveLength(1);
  };
  await refused(['--step', '9'], 2, 'has not completed step 9; it has completed steps up to 2');
  await refused(['--as', 'nobody'], 2, 'has no second verdicts of "nobody" (it has none at all)');
  await refused(['--set', 'rollout.temperature=2'], 2, 'rollout.temperature was 1, is 2');
  const checkpoints = join(run, 'checkpoints');
  await rm(join(checkpoints, 'step-000001'), { recursive: true });
  const few = ['--sample', '1', '--leaves', '2', '--output', join(folder, 'nearest')];
  const { stdout, stderr } = await branch(...few);
  expect(stdout, stderr).toContain(
    'the policies as step 2 left them play on: the policies as step 1 left them, which played step 2, are not kept',
  );
  await rm(checkpoints, { recursive: true });
  await refused([], 3, 'has no checkpoint left');
}, 300_000);
