import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, describe, expect, test } from 'vitest';
import { createRandom, shuffled } from '../random.ts';
import { type Answers, gradeTable, readAnswers } from './grade-table.ts';
import { type MetricName, metricNamed, metrics } from './metrics.ts';

type Table = Readonly<Record<string, readonly string[]>>;
type Case = {
  readonly metric: MetricName;
  readonly title: string;
  readonly truth: Table;
  readonly predicted: Table;
  readonly value: number;
};

const fixture = new URL('../../test/parity/fixtures/tables/metrics.json', import.meta.url);
const cases: readonly Case[] = JSON.parse(readFileSync(fixture, 'utf8'));

const folder = mkdtempSync(join(tmpdir(), 'tables-'));
afterAll(() => rmSync(folder, { recursive: true }));

function withIds(table: Table): Answers {
  const header = Object.keys(table);
  const rows = table[header[0] ?? '']?.length ?? 0;
  const ids = Array.from({ length: rows }, (_, row) => `r${row}`);
  return { path: 'a.csv', header: ['id', ...header], cells: [ids, ...Object.values(table)] };
}

function linesOf({ header, cells }: Answers): string[] {
  const quoted = (cell = '') => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const rows = (cells[0] ?? []).map((_, row) => cells.map((column) => quoted(column[row])));
  return [header, ...rows].map((row) => row.join(','));
}

const streamOf = (text: string | Buffer) => Readable.from([text]);

async function grade(metric: MetricName, truth: Answers, submission: string | Buffer) {
  return gradeTable(streamOf(submission), truth, metric);
}

/** What the command prints. */
async function verdict(metric: MetricName, answers: string, submission: string | Buffer) {
  const path = join(folder, 'test_answer.csv');
  writeFileSync(path, answers);
  const { success, reason, ...rest } = await grade(metric, await readAnswers(path), submission);
  return { success, reason, ...('value' in rest ? { value: rest.value } : {}) };
}

describe('every metric', () => {
  test.each(cases)('$metric is what scikit-learn says: $title', async (one) => {
    const truth = withIds(one.truth);
    const graded = await grade(one.metric, truth, linesOf(withIds(one.predicted)).join('\n'));
    expect(graded.success && graded.value).toBeCloseTo(one.value, 10);
  });

  test('is in the fixture', () => {
    expect(new Set(cases.map(({ metric }) => metric))).toEqual(new Set(Object.keys(metrics)));
  });

  test.each(cases)('$metric does not know the order of the rows: $title', async (one) => {
    const truth = withIds(one.truth);
    const [header = '', ...rows] = linesOf(withIds(one.predicted));
    for (const seed of [1, 2, 3]) {
      const order = [header, ...shuffled(rows, createRandom(seed))].join('\r\n');
      const graded = await grade(one.metric, truth, order);
      expect(graded.success && graded.value).toBeCloseTo(one.value, 10);
    }
  });

  test.each(cases)('$metric gives a part of the rows no score: $title', async (one) => {
    const truth = withIds(one.truth);
    const lines = linesOf(withIds(one.predicted));
    for (const kept of [0, 1, Math.floor(lines.length / 2), lines.length - 2]) {
      const graded = await grade(one.metric, truth, lines.slice(0, kept + 1).join('\n'));
      expect(graded).toMatchObject({ success: false, fault: 'wrong-ids' });
    }
  });
});

const answers = 'id,target\n1,10.5\n2,20\n3,30\n4,40\n';

describe('a submission', () => {
  test('is scored over all its rows: the example that the published code was tried on', async () => {
    const whole = 'id,target\n1,11\n2,19\n3,33\n4,38\n';
    expect((await verdict('rmse', answers, whole)).value).toBeCloseTo(1.887459, 6);
    expect((await verdict('mae', answers, whole)).value).toBe(1.625);
    const shuffledRows = 'id,target\n4,38\n2,19\n1,11\n3,33\n';
    expect((await verdict('rmse', answers, shuffledRows)).value).toBeCloseTo(1.887459, 6);
  });

  test.each([
    ['empty', '', 'unreadable', 'submission: it is empty'],
    ['a header alone', 'id,target\n', 'wrong-ids', '4 of 4 ids are missing (the first: "1")'],
    [
      'another header',
      'Id,target\n1,2\n',
      'wrong-header',
      'expected the columns id, target, got Id, target',
    ],
    [
      'a column too many',
      ',id,target\n0,1,2\n',
      'wrong-header',
      'expected the columns id, target, got , id, target',
    ],
    ['one column', 'id\n1\n', 'wrong-header', 'expected the columns id, target, got id'],
    [
      'a column twice',
      'id,target,target\n1,2,3\n',
      'unreadable',
      'submission: two columns are named "target"',
    ],
    [
      'a row cut short',
      'id,target\n1,2\n2\n',
      'unreadable',
      'submission: line 3: Invalid Record Length: expect 2, got 1 on line 3',
    ],
    [
      'a quote left open',
      'id,target\n1,"2\n2,3\n',
      'unreadable',
      'submission: line 3: Quote Not Closed: the parsing is finished with an opening quote at line 3',
    ],
    [
      'an id twice',
      'id,target\n1,1\n1,1\n2,2\n3,3\n4,4\n',
      'duplicate-ids',
      '1 rows (the first: "1") have an id that came before',
    ],
    [
      'half the rows',
      'id,target\n1,1\n2,2\n',
      'wrong-ids',
      '2 of 4 ids are missing (the first: "3")',
    ],
    [
      'other rows',
      'id,target\n1,1\n2,2\n3,3\n5,4\n',
      'wrong-ids',
      '1 of 4 ids are missing (the first: "4"); 1 rows (the first: "5") have an id that is not in the test set',
    ],
    [
      'NaN',
      'id,target\n1,1\n2,nan\n3,\n4,4\n',
      'missing-values',
      '2 rows (the first: "2") have no value in target',
    ],
    [
      'an infinity',
      'id,target\n1,1\n2,inf\n3,3\n4,4\n',
      'invalid-values',
      '1 values (the first: "inf") in target: rmse takes a number',
    ],
    [
      'words',
      'id,target\n1,1\n2,two\n3,3\n4,4\n',
      'invalid-values',
      '1 values (the first: "two") in target: rmse takes a number',
    ],
    [
      'bytes',
      '\0\u0001\u0002',
      'wrong-header',
      'expected the columns id, target, got \0\u0001\u0002',
    ],
  ])('that is %s has no score, with the reason', async (_, submission, fault, reason) => {
    const path = join(folder, 'answers.csv');
    writeFileSync(path, answers);
    expect(await grade('rmse', await readAnswers(path), submission)).toEqual({
      success: false,
      fault,
      reason,
    });
  });

  test('that is not there, or is a folder, has no score', async () => {
    const path = join(folder, 'there.csv');
    writeFileSync(path, answers);
    const truth = await readAnswers(path);
    expect(await gradeTable(join(folder, 'no.csv'), truth, 'mae')).toMatchObject({
      fault: 'no-file',
    });
    expect(await gradeTable(undefined, truth, 'mae')).toMatchObject({ fault: 'no-file' });
    expect(await gradeTable(folder, truth, 'mae')).toEqual({
      success: false,
      fault: 'unreadable',
      reason: 'submission: it is a folder',
    });
  });

  test('may have a byte order mark, CRLF, quotes, blanks, floats as ids and its columns in any order', async () => {
    const odd = '\ufeff"target", id\r\n" 11",1.0\r\n"19",2.0\r\n\r\n"3.3e1",3\r\n38.,4\r\n';
    expect((await verdict('mae', answers, odd)).value).toBe(1.625);
    const commas = 'id,name\na,"Smith, J."\nb,"O""Hara"\n';
    expect(
      (await verdict('accuracy', commas, '\ufeffid,name\r\nb,"O""Hara"\r\na,"Smith, J."\r\n'))
        .value,
    ).toBe(1);
  });

  test('may be far longer than the test set: it is read no further than needed', async () => {
    let read = 0;
    const endless = Readable.from(
      (function* () {
        yield 'id,target\n';
        for (let id = 10; ; id++) {
          read = id;
          yield `${id},1\n`;
        }
      })(),
    );
    const path = join(folder, 'short.csv');
    writeFileSync(path, answers);
    expect(await gradeTable(endless, await readAnswers(path), 'mae')).toMatchObject({
      fault: 'wrong-ids',
    });
    expect(read).toBeLessThan(50_000);
  });

  test('with one line without end is no table', async () => {
    const graded = await verdict('mae', answers, Buffer.alloc(3 * 2 ** 20, 'x'));
    expect(graded.reason).toMatch(/^submission: line \d+: Max Record Size/);
  });
});

describe('labels', () => {
  const labelled = 'id,status\n1,Normal\n2,Obese\n3,Normal\n4,None\n';

  test('may be any text, and one that means no value elsewhere', async () => {
    const right = 'id,status\n1,Normal\n2,Obese\n3,Obese\n4,None\n';
    expect((await verdict('accuracy', labelled, right)).value).toBe(0.75);
    expect(
      await verdict('accuracy', labelled, 'id,status\n1,Normal\n2,NaN\n3,Obese\n4,None\n'),
    ).toMatchObject({
      success: false,
      reason: '1 rows (the first: "2") have no value in status',
    });
  });

  test('that are the numbers of an encoder are no labels', async () => {
    expect(await verdict('accuracy', labelled, 'id,status\n1,0\n2,1\n3,0\n4,2\n')).toEqual({
      success: false,
      reason: 'no value in status is one of its labels (Normal, Obese, None, …)',
    });
  });

  test('that are whole numbers want whole numbers, however they are written', async () => {
    const binary = 'id,y\n1,0\n2,1\n3,1\n4,0\n';
    expect((await verdict('accuracy', binary, 'id,y\n1,0.0\n2,1.0\n3,False\n4,0\n')).value).toBe(
      0.75,
    );
    expect((await verdict('accuracy', binary, 'id,y\n1,0.2\n2,1\n3,0\n4,0\n')).success).toBe(false);
    expect((await verdict('f1', binary, 'id,y\n1,0.0\n2,1.0\n3,0\n4,0\n')).value).toBeCloseTo(
      2 / 3,
    );
  });
});

describe('labels that are decimals', () => {
  test('are the same however they are written', async () => {
    const truth = 'id,y\n1,0.5\n2,0.50\n3,1.25\n';
    expect((await verdict('accuracy', truth, 'id,y\n1,0.50\n2,.5\n3,12.5e-1\n')).value).toBe(1);
    expect((await verdict('accuracy', truth, 'id,y\n1,0.5\n2,0.51\n3,1.2\n')).value).toBe(1 / 3);
  });

  test('or whole numbers that no double holds exactly stay apart', async () => {
    const truth = 'id,y\n1,9007199254740993\n2,5\n';
    expect((await verdict('accuracy', truth, 'id,y\n1,9007199254740992\n2,5\n')).value).toBe(0.5);
  });
});

describe('texts', () => {
  test('may be words that mean no value elsewhere, but not nothing at all', async () => {
    const truth = 'id,text\n1,so sad\n2,none of it\n';
    expect(await verdict('jaccard', truth, 'id,text\n1,sad\n2,None\n')).toEqual({
      success: true,
      reason: undefined,
      value: expect.closeTo((1 / 2 + 1 / 3) / 2, 10),
    });
    expect((await verdict('jaccard', truth, 'id,text\n1,sad\n2,\n')).reason).toBe(
      '1 rows (the first: "2") have no value in text',
    );
  });
});

describe('predictions that are too large to be measured', () => {
  const largest = 'id,y\n1,1.7e308\n2,-1.7e308\n3,1.7e308\n';

  test.each(['rmse', 'r2', 'pearson'] as const)('have no %s, and say so', async (metric) => {
    const graded = await verdict(metric, 'id,y\n1,1\n2,2\n3,3\n', largest);
    expect(graded).toEqual({
      success: false,
      reason: `${metric} of these predictions is too large to be a number`,
    });
  });
});

describe('a metric without a value', () => {
  test.each([
    [
      'pearson',
      'id,y\n1,1\n2,1\n',
      'pearson has no value here: it needs targets and predictions that are not constant',
    ],
    [
      'roc_auc',
      'id,y\n1,1\n2,1\n',
      'roc_auc has no value here: it needs exactly two labels in each target column of the answer',
    ],
  ] as const)('%s says so and the submission is whole', async (metric, truth, reason) => {
    expect(await verdict(metric, truth, 'id,y\n1,0.5\n2,0.7\n')).toEqual({ success: true, reason });
  });

  test.each(['f1', 'log_loss'] as const)('%s has none of three labels', async (metric) => {
    const predicted = 'id,y\n1,0\n2,1\n3,1\n';
    expect(await verdict(metric, 'id,y\n1,0\n2,1\n3,2\n', predicted)).toEqual({
      success: true,
      reason: `${metric} has no value here: it needs at most two labels in each target column of the answer`,
    });
  });

  test('of a probability beyond 1, or a negative count, is an invalid value', async () => {
    expect((await verdict('log_loss', 'id,y\n1,1\n2,0\n', 'id,y\n1,1.2\n2,0\n')).success).toBe(
      false,
    );
    expect((await verdict('rmsle', 'id,y\n1,1\n2,0\n', 'id,y\n1,-0.1\n2,0\n')).success).toBe(false);
  });

  test('that does not exist is named with its nearest neighbour', () => {
    expect(metricNamed('QWK')).toBe('quadratic_weighted_kappa');
    expect(() => metricNamed('rmslee')).toThrow(
      /there is no metric rmslee: .*did you mean rmsle\?/,
    );
  });
});

describe('answers', () => {
  test.each([
    ['id,y\n', 'it has no row'],
    ['id,y\n1,2\n1,3\n', 'two rows with the id "1" in id'],
    ['id,y\n1,\n2,3\n', 'do not fit mae: row 2 has "" in y'],
  ])('that cannot be graded against are refused: %j', async (text, message) => {
    const path = join(folder, 'bad.csv');
    writeFileSync(path, text);
    const graded = async () => gradeTable(streamOf('id,y\n1,2\n'), await readAnswers(path), 'mae');
    await expect(graded()).rejects.toThrow(message);
  });
});
