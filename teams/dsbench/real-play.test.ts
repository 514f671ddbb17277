import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
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
import { dataSciencePython } from '../../test/support/data-science-python.ts';
import { playScripted } from '../../test/support/scripted-play.ts';
import { dsbenchTeam } from '../dsbench-team.ts';

const python = await dataSciencePython();
const missing =
  (await bubblewrapMissing()) ??
  (python === undefined ? 'no python3 here has pandas and scikit-learn' : undefined);

const code = (text: string) => ['```python', text.trim(), '```'].join('\n');

function scriptsFor({ id, table }: Task, estimator: string, predicted: string) {
  const { idColumn, targets, answers } = table as NonNullable<Task['table']>;
  return {
    engineer: [
      code(`
import os, pandas as pd
print(os.path.exists(${JSON.stringify(answers)}), os.listdir("."))
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
both = pd.get_dummies(pd.concat([train, test]).drop(columns=${JSON.stringify([idColumn, ...targets])}, errors="ignore"))
both = both.fillna(both.iloc[:len(train)].mean())
both.iloc[:len(train)].to_pickle("X_train.pkl")
both.iloc[len(train):].to_pickle("X_test.pkl")
train[${JSON.stringify(targets)}].to_pickle("y_train.pkl")
print("---PREPROCESSING_SUMMARY---", both.shape, "---END_SUMMARY---")`),
      `Prepared ${id}.`,
    ],
    modeler: [
      code(`
import pickle, pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
model = ${estimator}.fit(pd.read_pickle("X_train.pkl"), pd.read_pickle("y_train.pkl").values.squeeze())
pickle.dump(model, open("model.pkl", "wb"))`),
      'A linear model is left.',
    ],
    analyst: [
      code(`
import pickle, pandas as pd
model, X, test = pickle.load(open("model.pkl", "rb")), pd.read_pickle("X_test.pkl"), pd.read_csv("test.csv")
out = pd.DataFrame(${predicted}, columns=${JSON.stringify(targets)})
out.insert(0, "${idColumn}", test["${idColumn}"])
out.sample(frac=1, random_state=0).to_csv("submission.csv", index=False)`),
      'Handed in.',
    ],
  };
}

/** What scikit-learn says of a submission. */
async function sklearnOf({ table }: Task, submission: string, call: string): Promise<number> {
  const { idColumn, answers } = table as NonNullable<Task['table']>;
  const program = `
import pandas as pd
from sklearn import metrics
truth, found = (pd.read_csv(path).set_index("${idColumn}") for path in (${JSON.stringify(answers)}, ${JSON.stringify(submission)}))
found = found.loc[truth.index]
print(repr(float(${call})))`;
  const { stdout } = await promisify(execFile)(python ?? '', ['-c', program]);
  return Number(stdout);
}

describe.skipIf(missing !== undefined)(
  `the data-science team in bubblewrap${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let folder: string;
    const sandbox = createBubblewrapSandbox({ ...defaultLimits, python: python ?? 'python3' });
    const grade = createTableGrader({ accuracy: 0.5, f1: 0, rmsePercent: 'mean' });
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'real-play-'));
      await makeTables(folder, { train: 4, heldOut: 1, seed: 5, rows: 80 });
    });
    afterAll(async () => {
      await sandbox.close();
      await rm(folder, { recursive: true });
    });

    const plays = [
      {
        ...{ title: 'classification', kind: 'binary', metric: 'roc_auc' },
        estimator: 'LogisticRegression()',
        predicted: 'model.predict_proba(X)[:, 1]',
        call: 'metrics.roc_auc_score(truth, found)',
      },
      {
        ...{ title: 'regression', kind: 'targets', metric: 'rmse' },
        estimator: 'Ridge()',
        predicted: 'model.predict(X)',
        // The same under every version: the function with its root has changed its name.
        call: 'sum(metrics.mean_squared_error(truth[c], found[c]) ** 0.5 for c in truth) / truth.shape[1]',
      },
    ];
    test.each(plays)(
      'plays a $title task from its tables to a grade that is scikit-learn’s',
      async ({ kind, metric, estimator, predicted, call }) => {
        const tasks = await loadTableTasks(join(folder, 'dsbench_modeling_train.json'));
        const found = tasks.find(({ id }) => id.startsWith(kind)) as Task;
        const task = {
          ...found,
          table: { ...(found.table as NonNullable<Task['table']>), metric },
        };
        let outcome: Outcome | undefined;
        const submission = join(folder, `${kind}.csv`);
        const trajectory = await playScripted(
          { sandbox, workspaces: openWorkspaces(join(folder, 'workspaces'), defaultLimits) },
          {
            ...{ team: dsbenchTeam, task, scripts: scriptsFor(task, estimator, predicted) },
            onEnd: async (played, files) => {
              outcome = await grade(task, played, files);
              await writeFile(submission, await files.read('submission.csv'));
            },
          },
        );
        const results = trajectory.actions.flatMap(({ toolResults }) => toolResults);
        expect(results.map(({ status }) => status)).toEqual(['ok', 'ok', 'ok']);
        expect(
          results.map(({ files }) => files?.written.map(({ path }) => path).toSorted()),
        ).toEqual([
          ['X_test.pkl', 'X_train.pkl', 'y_train.pkl'],
          ['model.pkl'],
          ['submission.csv'],
        ]);
        // The answers are nowhere that a program of an agent can see.
        expect(results[0]?.output).toMatch(
          /^False \[('train.csv', 'test.csv'|'test.csv', 'train.csv')\]\n/,
        );
        expect(outcome?.correct).toBe(true);
        const value = Number(outcome?.extracted?.replace(`${metric} `, ''));
        expect(Math.abs(value - (await sklearnOf(task, submission, call)))).toBeLessThan(1e-9);
      },
    );
  },
);
