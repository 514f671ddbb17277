import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { openRun } from './run-store.ts';

function newRun() {
  const directory = join(mkdtempSync(join(tmpdir(), 'teamtune-rescore-records-')), 'run');
  const run = openRun(directory, { mode: 'create' });
  run.recordAction(1, sampleAction('1/t/0/0'));
  return { directory, run };
}

test('A label holds verdicts of one coach, asked in one way; the change is named', () => {
  const { run } = newRun();
  const blind = { coach: 'google/x', coaching: { showAnswer: false } };
  run.rescores.claimLabel('again', { coach: 'google/y', coaching: {} });
  run.rescores.claimLabel('again', blind);
  const verdict = { kind: 'unscored', actionId: '1/t/0/0', cause: 'asleep' } as const;
  run.rescores.recordSecond('again', verdict);
  run.rescores.claimLabel('again', blind);
  expect(run.rescores.secondCoach('again')).toEqual(blind);
  const sighted = { ...blind, coaching: { showAnswer: true } };
  expect(() => run.rescores.claimLabel('again', sighted)).toThrow(
    'coaching.showAnswer was false, is true): choose another label',
  );
  run.close();
});

test('Calls for second verdicts have books of their own, which outlive the process', () => {
  const { directory, run } = newRun();
  run.coachRecords.start({ actionId: '1/t/0/0', model: 'm', usdBound: 1 });
  const books = run.rescores.booksOf('again');
  books.end(books.start({ actionId: '1/t/0/0', model: 'm', usdBound: 1 }), {
    ...{ status: 'answered', usd: 0.25, inputTokens: 10, outputTokens: 2 },
  });
  books.spentBudget = '{"calls":1}';
  run.close();
  const opened = openRun(directory, { mode: 'resume' });
  const again = opened.rescores.booksOf('again');
  expect(again.totals()).toMatchObject({ calls: 1, usd: 0.25, usdUnknown: 0 });
  expect(again.byAgent()).toMatchObject([{ agent: 'solver', calls: 1, inputTokens: 10 }]);
  expect(again.spentBudget).toBe('{"calls":1}');
  expect(opened.coachRecords.totals()).toMatchObject({ calls: 1, usdUnknown: 1 });
  expect(opened.coachRecords.spentBudget).toBeUndefined();
  expect(opened.rescores.booksOf('other').totals()).toMatchObject({ calls: 0 });
  opened.close();
});

test('A task comes back with its files and how its table is graded: a second coach sees what the first saw', () => {
  const { run } = newRun();
  const table = {
    ...{ answers: 'answers.csv', metric: 'accuracy', kind: 'classification' as const },
    ...{ idColumn: 'id', targets: ['label'] },
  };
  const task = { id: 'a', prompt: 'Predict.', files: { 'train.csv': 'data/train.csv' }, table };
  run.rescores.recordTasks([task, { id: 'b', prompt: 'Add.', answer: '3' }]);
  expect(run.rescores.task('a')).toEqual(task);
  expect(run.rescores.task('b')).toEqual({ id: 'b', prompt: 'Add.', answer: '3' });
  run.close();
});
