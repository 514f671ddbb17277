import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { countRows, killAtEach } from '../support/killed-training.ts';
import { runCli } from '../support/run-cli.ts';

const team = fileURLToPath(new URL('../../teams/recipes/', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'teamtune-branch-files-'));
const config = join(folder, 'teamtune.config.ts');
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The small data-science team, in one of whose two kinds of tasks what the engineer saves has the time with it. */
const clocked = join(folder, 'clocked.py');
await writeFile(
  clocked,
  `${await readFile(join(team, 'recipes.py'), 'utf8')}
import time
_save = save

def save(**values):
    _save(**values, stamp=time.time_ns())
`,
);
await writeFile(
  config,
  `
import recipes from ${JSON.stringify(join(team, 'teamtune.config.ts'))};
const train = recipes.tasks.train.slice(0, 8).map((task, at) =>
  at % 2 === 0 ? task : { ...task, files: { ...task.files, 'recipes.py': ${JSON.stringify(clocked)} } });
export default {
  ...recipes,
  model: { ...recipes.model, threads: 1 },
  tasks: { ...recipes.tasks, train, heldOut: recipes.tasks.heldOut.slice(0, 1) },
  rollout: { ...recipes.rollout, tasksPerStep: 8, concurrency: 1 },
  training: { steps: 1 },
};
`,
);

test('a team that works in files is branched from where its files can be made again; killed and resumed, it ends the same', async () => {
  const run = join(folder, 'run');
  const trained = await runCli(['train', config, '--output', run]);
  expect(trained.code, trained.stderr).toBe(0);
  const args = ['branch', run, config, '--sample', '24', '--leaves', '2'];
  const whole = await runCli([...args, '--json']);
  expect(whole.code, whole.stderr).toBe(0);
  const { scored, unreplayable, obstacles, agents, failed } = JSON.parse(whole.stdout);
  // Every play's first action is the engineer's; nothing of the four tasks with the clock can be branched from.
  expect(obstacles).toHaveLength(4);
  expect(unreplayable).toBe(12);
  const { engineer, modeler, analyst } = agents;
  expect(scored - unreplayable).toBe(engineer.actions + modeler.actions + analyst.actions);
  expect([engineer.actions, modeler.actions, analyst.actions, failed]).toEqual([4, 4, 4, 0]);

  const output = join(folder, 'killed');
  const killed = await killAtEach(
    [...args, '--output', output],
    [
      () => countRows(output, 'trajectories', "scope = 'rebuild:1'") > 1,
      () => countRows(output, 'trajectories', "scope = 'branch:1'") > 2,
    ],
  );
  expect(killed.code, killed.stderr).toBe(0);
  const lines = (record: string) => readFile(join(record, 'branches.jsonl'), 'utf8');
  expect(await lines(output)).toBe(await lines(`${run}-branches`));
  expect(killed.stdout).toContain(
    '12 drawn actions left out: they need files of their plays that could not be made again\n  3 by 1/',
  );
  expect(killed.stdout).toContain('wrote something else into stamp.pkl than it had');
  const workspaces = join(output, 'workspaces');
  expect(existsSync(workspaces) ? readdirSync(workspaces) : []).toEqual([]);
}, 300_000);
