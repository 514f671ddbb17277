import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadTableTasks } from '../../src/dsbench/load-table-tasks.ts';
import { makeTables } from '../../src/dsbench/make-tables.ts';
import { createTableGrader } from '../../src/dsbench/table-grader.ts';
import { createBubblewrapSandbox } from '../../src/sandbox/bubblewrap-sandbox.ts';
import { defaultLimits } from '../../src/sandbox/limits.ts';
import { openWorkspaces } from '../../src/sandbox/workspaces.ts';
import type { Outcome } from '../../src/types/feedback.ts';
import type { Task } from '../../src/types/task.ts';
import { bubblewrapMissing } from '../../test/support/bubblewrap-here.ts';
import { playScripted } from '../../test/support/scripted-play.ts';
import { dsbenchTeam } from '../dsbench-team.ts';
import { judgeTables } from './judge.ts';

const missing = await bubblewrapMissing();
const recipes = fileURLToPath(new URL('../recipes/recipes.py', import.meta.url));
const code = (...lines: readonly string[]) =>
  ['```python', 'from recipes import *', ...lines, '```'].join('\n');

/** What each agent does right: one program, then a word that it is done. */
const clean = {
  engineer: [code('x, y, t = prepare()', 'save(X_train=x, y_train=y, X_test=t)'), 'Done.'],
  modeler: [code('fit("linear")'), 'Done.'],
  analyst: [code('submit(predict("number"))'), 'Done.'],
};
type Agent = keyof typeof clean;

const rewrite = (change: string) =>
  code(
    'import csv',
    'submit(predict("number"))',
    'rows = list(csv.reader(open("submission.csv")))',
    change,
    'csv.writer(open("submission.csv", "w")).writerows(rows)',
  );

/** Fault → what is said instead, who loses points for it (nobody where it is none), and what the grade says. */
const faults: readonly (readonly [
  string,
  Partial<Record<Agent, readonly string[]>>,
  Agent | undefined,
  string,
])[] = [
  [
    'no X_test',
    { engineer: [code('x, y, t = prepare()', 'save(X_train=x, y_train=y)'), 'Done.'] },
    'engineer',
    'no-file',
  ],
  [
    'no y_train',
    { engineer: [code('x, y, t = prepare()', 'save(X_train=x, X_test=t)'), 'Done.'] },
    'engineer',
    'no-file',
  ],
  [
    'a crash of the engineer',
    { engineer: [code('prepare()["age"]'), 'Done.'] },
    'engineer',
    'no-file',
  ],
  [
    'an engineer who only talks',
    { engineer: ['I would impute the median.'] },
    'engineer',
    'no-file',
  ],
  [
    'a wrong model path',
    { modeler: [code('fit("linear", "best.pkl")'), 'Done.'] },
    'modeler',
    'no-file',
  ],
  ['a crash in the modeler', { modeler: [code('fit(linear)'), 'Done.'] }, 'modeler', 'no-file'],
  [
    'a model no better than a constant',
    { modeler: [code('fit("mean")'), 'Done.'] },
    'modeler',
    'rmse',
  ],
  [
    'a modeler who deletes X_test',
    { modeler: [code('import os', 'os.remove("X_test.pkl")', 'fit("linear")'), 'Done.'] },
    'modeler',
    'no-file',
  ],
  [
    'a wrong header',
    { analyst: [code('submit(predict("number"), ["Id", "prediction"])'), 'Done.'] },
    'analyst',
    'wrong-header',
  ],
  [
    'a stale submission',
    {
      engineer: [
        code(
          'x, y, t = prepare()',
          'save(X_train=x, y_train=y, X_test=t)',
          'submit([[0] * len(t)])',
        ),
        'Done.',
      ],
      analyst: [code('submit(predict(number))'), 'Done.'],
    },
    'analyst',
    'stale',
  ],
  ['NaN', { analyst: [rewrite('rows[3][1] = "nan"'), 'Done.'] }, 'analyst', 'missing-values'],
  [
    'half of the rows',
    { analyst: [rewrite('rows = rows[:len(rows) // 2]'), 'Done.'] },
    'analyst',
    'wrong-ids',
  ],
  [
    'an id twice',
    { analyst: [rewrite('rows.append(rows[1])'), 'Done.'] },
    'analyst',
    'duplicate-ids',
  ],
  [
    'words for numbers',
    { analyst: [rewrite('rows[1][1] = "high"'), 'Done.'] },
    'analyst',
    'invalid-values',
  ],
  ['no code of the analyst', { analyst: ['The submission is ready.'] }, 'analyst', 'no-file'],
  [
    'shuffled rows',
    { analyst: [rewrite('rows[1:] = sorted(rows[1:], reverse=True)'), 'Done.'] },
    undefined,
    'rmse',
  ],
];

describe.skipIf(missing !== undefined)(
  `who is blamed${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let folder: string;
    let task: Task;
    const sandbox = createBubblewrapSandbox();
    const grade = createTableGrader({ accuracy: 0.5, f1: 0, rmsePercent: 'mean' });

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'faults-'));
      const options = { train: 1, heldOut: 1, seed: 2, rows: 60, kinds: ['regression'] } as const;
      await makeTables(folder, options);
      const [made] = await loadTableTasks(join(folder, 'dsbench_modeling_train.json'));
      const { files, table, ...rest } = made as Task;
      const withMetric = table && { table: { ...table, metric: 'rmse' } };
      task = { ...rest, ...withMetric, files: { ...files, 'recipes.py': recipes } };
    });
    afterAll(async () => {
      await sandbox.close();
      await rm(folder, { recursive: true });
    });

    /** Each agent's least score in a play, judged with hindsight, and the grade. */
    async function scoresOf(scripts: Readonly<Record<string, readonly string[]>>) {
      const workspaces = openWorkspaces(join(folder, 'workspaces'), defaultLimits);
      let outcome: Outcome | undefined;
      const { actions } = await playScripted(
        { sandbox, workspaces },
        {
          ...{ team: dsbenchTeam, task, scripts },
          onEnd: async (trajectory, files) => {
            outcome = await grade(task, trajectory, files);
          },
        },
      );
      const scores: Record<string, number> = {};
      for (const [index, action] of actions.entries()) {
        const [earlier, later] = [actions.slice(0, index), actions.slice(index + 1)];
        const seen = outcome === undefined ? {} : { outcome, later };
        const verdict = judgeTables({ task, action, earlier, ...seen });
        const score = 'score' in verdict ? verdict.score : Number.NaN;
        scores[action.agent] = Math.min(scores[action.agent] ?? 10, score);
      }
      return { scores, outcome };
    }

    test('nobody, where all did their part', async () => {
      const { scores, outcome } = await scoresOf(clean);
      expect(scores).toEqual({ engineer: 10, modeler: 10, analyst: 10 });
      expect(outcome).toMatchObject({ correct: true });
    });

    test.each(faults)('%s', async (_, changes, culprit, extracted) => {
      const { scores, outcome } = await scoresOf({ ...clean, ...changes });
      const innocent = Object.keys(clean).filter((agent) => agent !== culprit);
      expect(innocent.map((agent) => scores[agent])).toEqual(innocent.map(() => 10));
      if (culprit !== undefined) expect(scores[culprit]).toBeLessThanOrEqual(3);
      expect(outcome?.extracted).toMatch(new RegExp(`^${extracted}\\b`));
    });
  },
);
