import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layoutTables, publishedFiles } from '../../test/support/published-tables.ts';
import { findOverlap } from '../task/find-overlap.ts';
import { loadTableTasks } from './load-table-tasks.ts';
import { makeTables } from './make-tables.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tables-'));
  await makeTables(folder, { train: 8, heldOut: 4, seed: 3, rows: 20 });
});
afterAll(() => rm(folder, { recursive: true }));

const fileOf = (name: 'train' | 'eval', place = folder) =>
  join(place, `dsbench_modeling_${name}.json`);

async function copy(): Promise<string> {
  const other = await mkdtemp(join(tmpdir(), 'tables-'));
  await makeTables(other, { train: 8, heldOut: 4, seed: 3, rows: 20 });
  return other;
}

describe('synthetic tables', () => {
  test('are tasks of every kind, with the tables for agents and the answers apart', async () => {
    const tasks = await loadTableTasks(fileOf('train'));
    expect(tasks.map(({ tags }) => tags?.[0])).toEqual([
      ...['classification', 'regression', 'classification', 'regression'],
      ...['classification', 'regression', 'classification', 'regression'],
    ]);
    const [first] = tasks;
    expect(Object.keys(first?.files ?? {})).toEqual(['train.csv', 'test.csv']);
    expect(first?.answer).toBeUndefined();
    expect(first?.table?.answers).toBe(join(folder, 'answers', first?.id ?? '', 'test_answer.csv'));
    expect(tasks.map(({ table }) => table?.targets.length)).toEqual([1, 1, 1, 2, 1, 1, 1, 2]);
  });

  test('leak nothing: no target in a test set, no row in two tables, no task in two sets', async () => {
    const [train, heldOut] = await Promise.all([
      loadTableTasks(fileOf('train')),
      loadTableTasks(fileOf('eval')),
    ]);
    expect(findOverlap(train, heldOut)).toEqual([]);
    for (const { files = {}, table } of [...train, ...heldOut]) {
      const lines = async (path = '') => (await readFile(path, 'utf8')).trim().split('\n');
      const [rows, tests] = [await lines(files['train.csv']), await lines(files['test.csv'])];
      const ids = [...rows.slice(1), ...tests.slice(1)].map((line) => line.split(',')[0]);
      expect(new Set(ids).size).toBe(30);
      const answers = await lines(table?.answers);
      expect(answers.map((line) => line.split(',')[0])).toEqual(
        tests.map((line) => line.split(',')[0]),
      );
      expect(tests[0]).toBe(rows[0]?.split(`,${table?.targets[0]}`)[0]);
    }
  });

  test('are the same bytes for the same seed, and others for another', async () => {
    const again = await copy();
    const read = async (place: string) =>
      readFile(join(place, 'data_resplit', 'regression-3-train-2', 'train.csv'), 'utf8');
    expect(await read(again)).toBe(await read(folder));
    const [one, other] = await Promise.all(
      ['binary-3-train-1', 'binary-3-eval-1'].map((id) =>
        readFile(join(folder, 'data_resplit', id, 'train.csv'), 'utf8'),
      ),
    );
    expect(one?.split('\n').slice(1)).not.toEqual(other?.split('\n').slice(1));
    await rm(again, { recursive: true });
  });
});

describe('tasks that cannot be played', () => {
  test('a file that is not there is named, with where tables come from', async () => {
    await expect(loadTableTasks('nowhere/tasks.json')).rejects.toThrow(
      /nowhere\/tasks\.json cannot be read: ENOENT.*put DSBench's data there, or make tables with `teamtune make-tables/,
    );
  });

  test('are all named before the run, each with what is wrong', async () => {
    const place = await copy();
    const tables = (id: string) => join(place, 'data_resplit', id);
    await rm(join(tables('binary-3-train-1'), 'test.csv'));
    await rm(join(place, 'answers', 'regression-3-train-2'), { recursive: true });
    await writeFile(
      join(tables('multiclass-3-train-3'), 'train.csv'),
      'PassengerId,Survived\n1,0\n',
    );
    await writeFile(join(tables('targets-3-train-4'), 'train.csv'), '');
    const message = await loadTableTasks(fileOf('train', place)).catch((error) => error.message);
    expect(message).toContain('4 of 8 tasks of');
    expect(message).toContain(
      `binary-3-train-1: there is no ${tables('binary-3-train-1')}/test.csv`,
    );
    expect(message).toContain('regression-3-train-2: there is no ');
    expect(message).toMatch(/multiclass-3-train-3: train.csv has no column \w+\n/);
    expect(message).toContain('targets-3-train-4: a table: it is empty');
    await rm(place, { recursive: true });
  });

  test('are those whose answers no submission can be graded against', async () => {
    const place = await copy();
    const answersOf = (id: string) => join(place, 'answers', id, 'test_answer.csv');
    const change = async (id: string, edit: (lines: readonly string[]) => readonly string[]) => {
      const lines = (await readFile(answersOf(id), 'utf8')).trim().split('\n');
      await writeFile(answersOf(id), edit(lines).join('\n'));
    };
    await change('binary-3-train-1', (lines) => [...lines, lines[1] ?? '']);
    await change('regression-3-train-2', ([header = '', first = '', ...rest]) => [
      ...[header, `${first.split(',')[0]},`, ...rest],
    ]);
    await change('multiclass-3-train-3', ([header = '']) => [header]);
    await change('targets-3-train-4', ([header = '', ...rest]) => [header, `77,"`, ...rest]);
    const message = await loadTableTasks(fileOf('train', place)).catch((error) => error.message);
    expect(message).toContain('4 of 8 tasks of');
    expect(message).toMatch(/binary-3-train-1: the answers .* have two rows with the id "\w+" in /);
    expect(message).toMatch(/regression-3-train-2: the answers .* row 2 has "" in /);
    expect(message).toMatch(/multiclass-3-train-3: the answers .* it has no row/);
    expect(message).toMatch(/targets-3-train-4: the answers .* Quote Not Closed/);
    await rm(place, { recursive: true });
  });

  test('are those without a description, a metric, or with the target in the test set', async () => {
    const place = await copy();
    const path = join(place, 'dsbench_modeling_cleaned_prompts.json');
    const all = JSON.parse(await readFile(path, 'utf8'));
    delete all['binary-3-train-1'];
    all['regression-3-train-2'].metric = 'auk';
    const { id_column: id, target_column: target } = all['multiclass-3-train-3'];
    await writeFile(path, JSON.stringify(all));
    const shown = join(place, 'data_resplit', 'multiclass-3-train-3', 'test.csv');
    await writeFile(shown, `${id},${target}\n1,low\n`);
    await expect(loadTableTasks(fileOf('train', place))).rejects.toThrow(
      new RegExp(
        `binary-3-train-1: dsbench_modeling_cleaned_prompts.json does not describe it\\n.*regression-3-train-2: there is no metric auk: .*\\n.*multiclass-3-train-3: test.csv shows the target ${target}`,
      ),
    );
    await rm(place, { recursive: true });
  });
});

describe.skipIf(!existsSync(publishedFiles))(
  'the published tasks (skipped without ../shared)',
  () => {
    test('are reported one by one where their tables are missing', async () => {
      const loading = loadTableTasks(join(publishedFiles, 'dsbench_modeling_train.json'), folder);
      const message: string = await loading.catch((error) => error.message);
      expect(message).toContain('64 of 64 tasks of');
      expect(message.split('\n').slice(1)).toHaveLength(64);
    });

    test('load with their tables, and what is wrong in the files is mended', async () => {
      const place = await mkdtemp(join(tmpdir(), 'tables-'));
      await layoutTables(place);
      const read = (name: string) => loadTableTasks(join(publishedFiles, name), place);
      const train = await read('dsbench_modeling_train.json');
      const heldOut = await read('dsbench_modeling_eval.json');
      expect([train.length, heldOut.length]).toEqual([64, 8]);
      const byId = new Map([...train, ...heldOut].map((task) => [task.id, task]));
      const kindOf = (id: string) => byId.get(id)?.table?.kind;
      for (const id of ['playground-series-s3e13', 'tabular-playground-series-feb-2022'])
        expect(kindOf(id)).toBe('classification');
      for (const id of ['playground-series-s3e22', 'playground-series-s4e6'])
        expect(kindOf(id)).toBe('classification');
      for (const id of ['playground-series-s4e2', 'liverpool-ion-switching'])
        expect(kindOf(id)).toBe('classification');
      expect(kindOf('tweet-sentiment-extraction')).toBe('extraction');
      expect(byId.get('titanic')?.prompt).toContain('PassengerId,Survived');
      expect(byId.get('liverpool-ion-switching')?.table?.metric).toBe('f1_macro');
      expect(byId.get('google-quest-challenge')?.table?.targets).toHaveLength(30);
      await rm(place, { recursive: true });
    });
  },
);
