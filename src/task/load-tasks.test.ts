import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findOverlap } from './find-overlap.ts';
import { loadTasks } from './load-tasks.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'load-tasks-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function written(text: string, name = 'sums.json'): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

describe('loadTasks', () => {
  it('reads the fields of the AIME and AMC files', async () => {
    const path = await written(
      '[{"prompt":"p1","answer":"080","id":"1983-1","year":1983,"part":null},' +
        '{"prompt":"p2","answer":142.0,"source":"amc","id":7},' +
        '{"prompt":"p3","answer":["336^\\\\circ","x"]},{"prompt":"p4","answer":null}]',
    );
    expect(await loadTasks(path)).toEqual([
      { id: '1983-1', prompt: 'p1', answer: '080' },
      { id: '7', prompt: 'p2', answer: '142', tags: ['amc'] },
      { id: 'sums-3', prompt: 'p3', answer: '336^\\circ' },
      { id: 'sums-4', prompt: 'p4' },
    ]);
  });

  it('reads JSON Lines whatever the extension, and counts rows as lines', async () => {
    const path = await written('{"prompt":"a","answer":-1.0}\n\n{"problem":"b","label":"2"}\n');
    expect(await loadTasks(path)).toEqual([
      { id: 'sums-1', prompt: 'a', answer: '-1' },
      { id: 'sums-3', prompt: 'b', answer: '2' },
    ]);
  });

  it('takes a single line for JSON Lines, too', async () => {
    expect(await loadTasks(await written('{"prompt":"a"}\n'))).toMatchObject([{ prompt: 'a' }]);
  });

  it('takes the id of a modelling task from its metadata, and files relative to the task file', async () => {
    const path = await written(
      '{"prompt":"a","answer":null,"metadata":{"task_id":"s4e1"},"files":{"train.csv":"d/train.csv"}}',
    );
    expect(await loadTasks(path)).toEqual([
      { id: 's4e1', prompt: 'a', files: { 'train.csv': join(folder, 'd/train.csv') } },
    ]);
  });

  it.each([
    ['[{"answer":"1"}]', /sums\.json row 1: field "prompt" must be a non-empty text, got nothing/],
    ['[{"prompt":"a"},{"prompt":5}]', /row 2: field "prompt" must be a non-empty text, got 5/],
    [
      '[{"prompt":"a","answer":{"x":1}}]',
      /row 1: field "answer" must be a text or a number.*got \{"x":1\}/,
    ],
    ['[{"prompt":"a","id":true}]', /row 1: field "id" must be/],
    ['[{"prompt":"a","files":{"x":1}}]', /row 1: field "files\.x" must be a path, got 1/],
    [
      '[{"prompt":"a","id":"k"},{"prompt":"b","id":"k"}]',
      /row 2: field "id" is "k", which row 1 already has/,
    ],
    ['["a"]', /row 1: expected an object/],
    ['[]', /holds no task/],
    ['', /holds no task/],
    ['{"tasks":[\n{"prompt":"a"}\n]}', /sums\.json is one JSON object; expected a JSON array/],
    ['{"prompt":"a"}\n{"prompt"', /row 2 is not valid JSON/],
    ['[{"prompt":', /sums\.json is not valid JSON/],
  ])('refuses %s and says where', async (text, message) => {
    await expect(loadTasks(await written(text))).rejects.toThrow(message);
    await expect(loadTasks(join(folder, 'sums.json'))).rejects.toMatchObject({ boundary: 'task' });
  });

  it('refuses a folder', async () => {
    await expect(loadTasks(folder)).rejects.toThrow(/Expected a task file, and .* is a folder/);
  });

  it('refuses a file that is not there, and names it', async () => {
    await expect(loadTasks(join(folder, 'gone.json'))).rejects.toThrow(
      /There is no task file at .*gone\.json: .*tasks\.train=FILE/,
    );
  });
});

describe('findOverlap', () => {
  const task = (id: string, prompt: string) => ({ id, prompt });

  it('finds the same text through case, white space and punctuation', () => {
    const train = [task('t1', 'Find $x + 1$, the two-digit number.'), task('t2', 'Other')];
    const heldOut = [task('h1', 'find x+1 the Two digit number'), task('h2', 'New')];
    expect(findOverlap(train, heldOut)).toEqual([{ trainId: 't1', heldOutId: 'h1' }]);
  });

  it('finds a long problem again in other markup, without its figure and with other closing words', () => {
    const told = 'A train of $1{,}200$ cars leaves Ulm at noon; each car holds \\(40\\) crates of';
    const train = [task('t', `${told} 12 apples. [asy]draw((0,0)--(7,3));[/asy] How many apples?`)];
    const again = 'A train of 1200 cars leaves Ulm at noon: each car holds 40 crates of 12 apples.';
    const heldOut = [task('h', `${again} Find the number of apples.`)];
    expect(findOverlap(train, heldOut)).toEqual([{ trainId: 't', heldOutId: 'h' }]);
    const other = [task('o', `${again.replace('12 apples', '13 apples')} How many apples?`)];
    expect(findOverlap(train, other)).toEqual([]);
  });

  it('keeps sums apart that differ in a sign, a bracket or a decimal point', () => {
    const heldOut = ['12 - 3', '(12 + 3) * 2', '1.5', '9!'].map((text) => task(text, text));
    const train = ['12 + 3', '12 + (3 * 2)', '15', '9'].map((text) => task(text, text));
    expect(findOverlap(train, heldOut)).toEqual([]);
  });
});

const BENCH = new URL('../../../shared/data/bench/', import.meta.url);

describe.skipIf(!existsSync(BENCH))('the real files (skipped where they are absent)', () => {
  const at = (name: string) => loadTasks(new URL(name, BENCH).pathname);

  it('load in full, and AIME 2025 does not overlap the years before', async () => {
    const [train, heldOut, amc, amcHeldOut, modelling] = await Promise.all([
      at('AIME_1983_2024.json'),
      at('aime_2025.json'),
      at('amc.json'),
      at('amc_eval_32.json'),
      at('dsbench_modeling_train.json'),
    ]);
    const counts = [train, heldOut, amc, amcHeldOut, modelling].map((tasks) => tasks.length);
    expect(counts).toEqual([933, 30, 117, 32, 64]);
    expect(findOverlap(train, heldOut)).toEqual([]);
    expect(findOverlap(amc, amcHeldOut)).toHaveLength(32);
    expect(findOverlap(train, train)).toHaveLength(933);
    expect(findOverlap(train, train).filter((one) => one.trainId !== one.heldOutId)).toEqual([]);
  });

  it('a set like aime_eval_32, 18 AIME problems in other print among others, gives 18', async () => {
    const train = await at('AIME_1983_2024.json');
    const printed = (prompt: string, index: number) =>
      index < 16
        ? prompt.replaceAll(' ', '  ').replaceAll('$', '').replaceAll(',', ' ,').toUpperCase()
        : `${prompt.slice(0, -1)} (give one whole number)`;
    const copies = train.slice(-60, -42).map(({ prompt }, index) => ({
      id: `copy-${index}`,
      prompt: printed(prompt, index),
    }));
    const heldOut = [...copies, ...(await at('aime_2025.json')).slice(0, 14)];
    expect(findOverlap(train, heldOut)).toHaveLength(18);
  });
});
