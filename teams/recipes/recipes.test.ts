import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadTableTasks } from '../../src/dsbench/load-table-tasks.ts';
import { makeTables } from '../../src/dsbench/make-tables.ts';
import { createTableGrader } from '../../src/dsbench/table-grader.ts';
import { defaultLimits } from '../../src/sandbox/limits.ts';
import { createPythonSandbox } from '../../src/sandbox/python-sandbox.ts';
import { openWorkspaces } from '../../src/sandbox/workspaces.ts';
import type { Outcome } from '../../src/types/feedback.ts';
import type { Task } from '../../src/types/task.ts';
import { playScripted } from '../../test/support/scripted-play.ts';
import { recipesTeam } from '../recipes-team.ts';
import { judgeRecipes } from './coach.ts';
import { analystProgram, engineerMenu, type Form, modelerMenu, wantedForm } from './language.ts';

let folder: string;
let tasks: readonly Task[];
const sandbox = createPythonSandbox();
const grade = createTableGrader({ accuracy: 0.5, f1: 0, rmsePercent: 'mean' });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'recipes-'));
  await makeTables(folder, { train: 4, heldOut: 1, seed: 1, rows: 60 });
  const made = await loadTableTasks(join(folder, 'dsbench_modeling_train.json'));
  const recipes = fileURLToPath(new URL('recipes.py', import.meta.url));
  tasks = made.map((task) => ({ ...task, files: { ...task.files, 'recipes.py': recipes } }));
});
afterAll(async () => {
  await sandbox.close();
  await rm(folder, { recursive: true });
});

type Scripts = { readonly engineer: string; readonly modeler: string; readonly analyst: string };

async function play(
  task: Task,
  scripts: Scripts,
  workspaces = openWorkspaces(join(folder, 'workspaces'), defaultLimits),
) {
  let outcome: Outcome | undefined;
  const { actions } = await playScripted(
    { sandbox, workspaces },
    {
      ...{ team: recipesTeam, task },
      scripts: Object.fromEntries(Object.entries(scripts).map(([name, said]) => [name, [said]])),
      onEnd: async (trajectory, files) => {
        outcome = await grade(task, trajectory, files);
      },
    },
  );
  const scores = actions.map((action, index) => {
    const [earlier, later] = [actions.slice(0, index), actions.slice(index + 1)];
    const seen = outcome === undefined ? {} : { outcome, later };
    const verdict = judgeRecipes({ task, action, earlier, ...seen });
    return 'score' in verdict ? verdict.score : undefined;
  });
  return { outcome, scores };
}

const right = (task: Task): Scripts => ({
  engineer: engineerMenu.all,
  modeler: modelerMenu.linear,
  analyst: analystProgram(wantedForm(task.table?.metric ?? ''), true),
});

describe('the menu', () => {
  test('has a right program for every kind of task, which hands in what beats the fallbacks', async () => {
    for (const task of tasks) {
      const { outcome, scores } = await play(task, right(task));
      expect(outcome, task.id).toMatchObject({ correct: true });
      expect(scores, task.id).toEqual([10, expect.any(Number), 10]);
      const { 'fair-accuracy': accuracy = 1, 'fair-rmse-percent': error = 0 } =
        outcome?.measures ?? {};
      const nothing = (await grade(task, { id: 'x', actions: [] })).measures ?? {};
      expect(accuracy, task.id).toBeGreaterThan(0.6);
      expect(error, task.id).toBeLessThan(nothing['fair-rmse-percent'] ?? 1);
    }
  });

  test('has wrong programs that cost the agent who chose them, and nobody else', async () => {
    const [binary, regression] = tasks as [Task, Task];
    const wrong = async (task: Task, change: Partial<Scripts>) =>
      (await play(task, { ...right(task), ...change })).scores.map((score) => (score ?? 0) > 5);
    for (const engineer of [engineerMenu.withoutTest, engineerMenu.withoutTargets])
      expect(await wrong(regression, { engineer })).toEqual([false, true, true]);
    for (const modeler of [modelerMenu.mean, modelerMenu.misnamed])
      expect(await wrong(regression, { modeler })).toEqual([true, false, true]);
    const other = (task: Task): Form =>
      wantedForm(task.table?.metric ?? '') === 'label' ? 'number' : 'label';
    for (const analyst of [
      analystProgram(wantedForm(binary.table?.metric ?? ''), false),
      analystProgram(other(binary), true),
    ])
      expect(await wrong(binary, { analyst })).toEqual([true, true, false]);
  });
});

test('a hundred plays at once do not meet in one another’s files, and leave none', async () => {
  const place = join(folder, 'hundred');
  const workspaces = openWorkspaces(place, defaultLimits);
  const [task] = tasks as [Task];
  const heard = async (sample: number) => {
    const code = (line: string) => ['```python\n', line, '\n```'].join('');
    const scripts = {
      engineer: [code(`open("X_train.pkl", "w").write("${sample}")`)],
      modeler: [code('open("model.pkl", "w").write(open("X_train.pkl").read())')],
      analyst: [code('print(open("model.pkl").read())')],
    };
    const own = { ...task, id: `${task.id}-${sample}` };
    const { actions } = await playScripted(
      { sandbox, workspaces },
      { team: recipesTeam, task: own, scripts },
    );
    return Number(actions.at(-1)?.toolResults[0]?.output);
  };
  const samples = Array.from({ length: 100 }, (_, sample) => sample);
  expect(await Promise.all(samples.map(heard))).toEqual(samples);
  await workspaces.close();
  expect(existsSync(place)).toBe(false);
});
