import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { countRows, factsOf, killAtEach } from '../support/killed-training.ts';
import { runCli } from '../support/run-cli.ts';

const recipes = fileURLToPath(new URL('../../teams/recipes/teamtune.config.ts', import.meta.url));

/** The small data-science team, for two short steps. */
const configText = `
import recipes from ${JSON.stringify(recipes)};
export default {
  ...recipes,
  model: { ...recipes.model, threads: 1 },
  tasks: { ...recipes.tasks, heldOut: recipes.tasks.heldOut.slice(0, 6) },
  rollout: { ...recipes.rollout, tasksPerStep: 12 },
  training: { steps: 2 },
};
`;
const folder = await mkdtemp(join(tmpdir(), 'teamtune-tables-'));
const config = join(folder, 'teamtune.config.ts');
await writeFile(config, configText);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Grades come from files that are gone once a play has ended. */
function gradesOf(directory: string) {
  const run = openRun(directory, { mode: 'read' });
  const grades = [1, 2].map((step) => [...run.outcomesOf(step)].toSorted());
  run.close();
  return grades;
}

test('killed while plays have files open, it ends with the same grades and numbers, and leaves no workspace', async () => {
  const whole = join(folder, 'whole');
  const { code, stderr } = await runCli(['train', config, '--output', whole]);
  expect(code, stderr).toBe(0);
  expect(
    gradesOf(whole)
      .flat()
      .some(([, { correct }]) => correct),
  ).toBe(true);

  const killed = join(folder, 'killed');
  const args = ['train', config, '--output', killed];
  const resumed = await killAtEach(args, [
    () => countRows(killed, 'outcomes', "trajectory_id LIKE '2/%'") > 0,
  ]);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(gradesOf(killed)).toEqual(gradesOf(whole));
  expect(factsOf(killed)).toEqual(factsOf(whole));
  const workspaces = join(killed, 'workspaces');
  expect(existsSync(workspaces) ? readdirSync(workspaces) : []).toEqual([]);
}, 600_000);
