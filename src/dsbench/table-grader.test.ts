import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { WorkspaceFiles } from '../types/sandbox.ts';
import type { TableTask } from '../types/task.ts';
import type { Action } from '../types/trajectory.ts';
import type { Fallbacks } from './fair-metrics.ts';
import { createTableGrader } from './table-grader.ts';

const folder = mkdtempSync(join(tmpdir(), 'grader-'));
afterAll(() => rmSync(folder, { recursive: true }));

const paper: Fallbacks = { accuracy: 0.5, f1: 0, rmsePercent: 'mean' };

/** An action that wrote these files, or ran nothing. */
function actionOf(agent: string, turn: number, written: readonly string[] = []): Action {
  const files = { written: written.map((path) => ({ path, bytes: 1 })), removed: [] };
  return {
    ...{ id: `1/t/0/${turn}`, agent, role: agent, turn, seed: 0, stop: 'stop', text: '' },
    ...{ policy: { id: 'p', version: 0 }, observation: new Int32Array(), observationText: '' },
    ...{ tokens: new Int32Array(), logprobs: new Float32Array(), toolCalls: [] },
    toolResults: [{ tool: 'python', status: 'ok', output: '', durationMs: 0, files }],
  };
}

const play = { id: '1/t/0', actions: [actionOf('analyst', 0, ['submission.csv'])] };
let number = 0;

function taskOf(answers: string, table: Partial<TableTask>) {
  const path = join(folder, `${number++}.csv`);
  writeFileSync(path, answers);
  const [id = '', ...targets] = answers.split('\n')[0]?.split(',') ?? [];
  const common = { answers: path, metric: 'rmse', kind: 'regression' as const };
  return { id: 't', prompt: 'p', table: { ...common, idColumn: id, targets, ...table } };
}

function filesWith(submission: string | undefined): WorkspaceFiles {
  const bytes = new TextEncoder().encode(submission ?? '');
  return {
    list: async () =>
      submission === undefined ? [] : [{ path: 'submission.csv', bytes: bytes.length }],
    read: async () => bytes,
    collect: async () => new Map(),
  };
}

describe('a play of a regression task', () => {
  const task = taskOf('id,y\n1,10.5\n2,20\n3,30\n4,40\n', {});

  test('has its RMSE in percent of the range, over all rows', async () => {
    const grade = createTableGrader(paper);
    const outcome = await grade(task, play, filesWith('id,y\n2,19\n1,11\n3,33\n4,38\n'));
    expect(outcome).toMatchObject({ trajectoryId: '1/t/0', correct: true });
    expect(outcome?.extracted).toMatch(/^rmse 1\.88745/);
    expect(outcome?.measures?.['fair-rmse-percent']).toBeCloseTo(6.398165, 6);
  });

  test('without a submission counts as predicting the mean, or as the config says', async () => {
    const nothing = await createTableGrader(paper)(task, play, filesWith(undefined));
    expect(nothing).toMatchObject({ correct: false, extracted: 'no-file: there is no submission' });
    expect(nothing?.measures?.['fair-rmse-percent']).toBeCloseTo((100 * 11.013486) / 29.5, 5);
    const half = await createTableGrader({ ...paper, rmsePercent: 90 })(
      task,
      play,
      filesWith('id,y\n1,11\n'),
    );
    expect(half).toMatchObject({ correct: false, measures: { 'fair-rmse-percent': 90 } });
  });

  test('that broke counts the same', async () => {
    const grade = createTableGrader(paper);
    expect((await grade(task, play))?.measures?.['fair-rmse-percent']).toBeCloseTo(37.33, 2);
  });
});

describe('a submission that an earlier agent left', () => {
  const task = taskOf('id,y\n1,10\n2,20\n', {});
  const submission = filesWith('id,y\n1,10\n2,20\n');
  const gradeOf = (...actions: readonly Action[]) =>
    createTableGrader(paper)(task, { id: '1/t/0', actions }, submission);

  test('is stale: it counts as a failure, and says whose it is', async () => {
    const engineer = actionOf('engineer', 0, ['X_test.pkl', 'submission.csv']);
    expect(await gradeOf(engineer, actionOf('analyst', 1))).toEqual({
      trajectoryId: '1/t/0',
      correct: false,
      extracted: 'stale: submission.csv is by engineer, and not by analyst, who acted last',
      measures: { 'fair-rmse-percent': 50 },
    });
    expect((await gradeOf(actionOf('analyst', 0)))?.extracted).toMatch(/is by no agent/);
  });

  test('counts where the last agent wrote it again, in whichever of its actions', async () => {
    const outcome = await gradeOf(
      actionOf('engineer', 0, ['submission.csv']),
      actionOf('analyst', 1, ['submission.csv']),
      actionOf('analyst', 2),
    );
    expect(outcome).toMatchObject({ correct: true, extracted: 'rmse 0' });
  });
});

describe('an error that is too large to be a number', () => {
  const huge = filesWith('id,y\n1,1e308\n2,-1e308\n');

  test('is a failure with the fallback, also where the metric itself has a value', async () => {
    const grade = createTableGrader(paper);
    const truth = 'id,y\n1,10\n2,20\n';
    expect(await grade(taskOf(truth, {}), play, huge)).toMatchObject({
      correct: false,
      extracted: 'invalid-values: rmse of these predictions is too large to be a number',
      measures: { 'fair-rmse-percent': 50 },
    });
    const byRanks = await grade(taskOf(truth, { metric: 'spearman' }), play, huge);
    expect(byRanks).toMatchObject({ correct: true, measures: { 'fair-rmse-percent': 50 } });
    const ninety = createTableGrader({ ...paper, rmsePercent: 90 });
    expect((await ninety(taskOf(truth, {}), play, huge))?.measures).toEqual({
      'fair-rmse-percent': 90,
    });
  });

  test('leaves out answers that are all the same, which have no range', async () => {
    const constant = taskOf('id,y\n1,10\n2,10\n', { metric: 'spearman' });
    expect((await createTableGrader(paper)(constant, play, huge))?.measures).toEqual({});
  });
});

describe('a play of a classification task', () => {
  const measures = async (
    [answers, table]: readonly [string, Partial<TableTask>],
    submission: string | undefined,
    fallbacks = paper,
  ) => {
    const task = taskOf(answers, { kind: 'classification', ...table });
    return (await createTableGrader(fallbacks)(task, play, filesWith(submission)))?.measures;
  };
  const binary = ['id,y\n1,0\n2,1\n3,1\n4,0\n', { metric: 'roc_auc' }] as const;

  test('has accuracy and F1 of the label that a probability favours', async () => {
    const probabilities = 'id,y\n1,0.2\n2,0.8\n3,0.4\n4,0.1\n';
    expect(await measures(binary, probabilities)).toEqual({
      'fair-accuracy': 0.75,
      'fair-f1': expect.closeTo(2 / 3, 10),
    });
  });

  test('has those of the likeliest of several columns, and of the first of a ranking', async () => {
    const classes = ['id,a,b,c\n1,1,0,0\n2,0,0,1\n', { metric: 'log_loss' }] as const;
    expect(
      (await measures(classes, 'id,a,b,c\n1,0.4,0.3,0.3\n2,0.1,0.6,0.3\n'))?.['fair-accuracy'],
    ).toBe(0.5);
    const ranked = ['id,y\n1,flu\n2,cold\n', { metric: 'map_at_3' }] as const;
    expect((await measures(ranked, 'id,y\n1,flu cold\n2,flu cold\n'))?.['fair-accuracy']).toBe(0.5);
  });

  test('weighs F1 over three labels, and counts a failure as the fallbacks', async () => {
    const three = ['id,y\n1,0\n2,1\n3,2\n4,3\n5,4\n', { metric: 'accuracy' }] as const;
    expect(await measures(three, 'id,y\n1,0\n2,1\n3,2\n4,3\n5,3\n')).toEqual({
      'fair-accuracy': 0.8,
      'fair-f1': expect.closeTo(0.733333, 6),
    });
    expect(await measures(binary, 'id,y\n1,0.2\n')).toEqual({ 'fair-accuracy': 0.5, 'fair-f1': 0 });
    const skewed = ['id,y\n1,0\n2,1\n3,1\n4,1\n', { metric: 'f1' }] as const;
    const majority = { ...paper, accuracy: 'majority', f1: 0.1 } as const;
    expect(await measures(skewed, undefined, majority)).toEqual({
      'fair-accuracy': 0.75,
      'fair-f1': 0.1,
    });
  });
});
