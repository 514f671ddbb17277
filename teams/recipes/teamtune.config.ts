import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineRun } from '../../src/config/schema.ts';
import { loadTableTasks } from '../../src/dsbench/load-table-tasks.ts';
import { makeTables } from '../../src/dsbench/make-tables.ts';
import type { Task } from '../../src/types/task.ts';
import { baseProgress } from '../base-progress.ts';
import { recipesTeam } from '../recipes-team.ts';
import { makeBaseModel } from './base-model.ts';
import { createRecipesCoach } from './coach.ts';

const place = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const cache = place('../../.teamtune');
const tables = join(cache, 'recipes-tables-2');

if (!existsSync(join(tables, 'dsbench_modeling_cleaned_prompts.json')))
  await makeTables(tables, { train: 64, heldOut: 40, seed: 1, rows: 80 });

/** The tasks with the recipes among their files. */
async function tasksOf(set: 'train' | 'eval'): Promise<Task[]> {
  const tasks = await loadTableTasks(join(tables, `dsbench_modeling_${set}.json`));
  const recipes = { 'recipes.py': place('recipes.py') };
  return tasks.map((task) => ({ ...task, files: { ...task.files, ...recipes } }));
}

/** The small data-science team: 32 plays a step on synthetic tables, 40 held-out tasks before and after. */
export default defineRun({
  name: 'recipes',
  team: recipesTeam,
  // Made by the first command that needs it, in under a minute.
  model: {
    path: await makeBaseModel(cache, baseProgress('under a minute')),
  },
  tasks: {
    kind: 'dsbench',
    train: await tasksOf('train'),
    heldOut: await tasksOf('eval'),
    stratify: true,
  },
  coach: createRecipesCoach(),
  coaching: { showOutcome: true },
  rollout: { tasksPerStep: 32, samplesPerTask: 1, toolTimeoutSeconds: 10 },
  credit: { klCoefficient: 0.005 },
  update: { learningRate: 4e-3 },
  training: { steps: 20 },
  evaluation: { samplesPerTask: 1 },
});
