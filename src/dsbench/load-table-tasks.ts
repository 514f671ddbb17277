import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';
import type { TableTask, Task } from '../types/task.ts';
import { corrections, type Description } from './corrections.ts';
import { type Answers, checkAnswers, readAnswers } from './grade-table.ts';
import { metricNamed } from './metrics.ts';
import { readHeader, UnreadableTable } from './read-table.ts';

/** Names and places of DSBench's files, in the folder that a user names. */
export const layout = {
  descriptions: 'dsbench_modeling_cleaned_prompts.json',
  trainFile: (id: string) => join('data_resplit', id, 'train.csv'),
  testFile: (id: string) => join('data_resplit', id, 'test.csv'),
  answersFile: (id: string) => join('answers', id, 'test_answer.csv'),
} as const;

const row = z.object({ metadata: z.object({ task_id: z.string().regex(/^[\w.-]+$/) }) });

const description = z.object({
  cleaned_prompt: z.string().min(1),
  metric: z.string(),
  task_type: z.enum(['classification', 'regression', 'extraction']),
  target_column: z.union([z.string().transform((name) => [name]), z.array(z.string())]),
  id_column: z.string(),
});
type Checked = z.output<typeof description>;

/** A task with what keeps it from being played. */
type Found = { readonly id: string; readonly task?: Task; readonly problems: readonly string[] };

/**
 * Reads tasks in DSBench's layout: JSON Lines with `metadata.task_id`, the descriptions
 * (`dsbench_modeling_cleaned_prompts.json`, corrected) beside the file, and in `folder` `data_resplit/<id>/train.csv`,
 * `test.csv` and `answers/<id>/test_answer.csv`. Agents get the description and the two tables, not the answers.
 *
 * @param folder default: the folder of the file
 * @throws BoundaryError("task") listing for every task what is missing, or does not fit its description
 */
export async function loadTableTasks(path: string, folder = dirname(path)): Promise<Task[]> {
  const ids = idsOf(await readText(path), path);
  const descriptions = await readDescriptions(join(dirname(path), layout.descriptions));
  const found: Found[] = [];
  // One after the other: answers are read wholly, and those of a task may be large.
  for (const id of ids) found.push(await readTask(id, descriptions[id], folder));
  const broken = found.filter(({ problems }) => problems.length > 0);
  if (broken.length === 0) return found.flatMap(({ task }) => task ?? []);
  const lines = broken.map(({ id, problems }) => `  ${id}: ${problems.join('; ')}`);
  throw new BoundaryError(
    'task',
    `${broken.length} of ${ids.length} tasks of ${path} cannot be played with the tables in ${folder} (put DSBench's data_resplit and answers there, or name their folder with tasks.tables; or take the lines of these tasks out of the file):\n${lines.join('\n')}`,
  );
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new BoundaryError(
      'task',
      `${path} cannot be read: ${messageOf(cause)}; put DSBench's data there, or make tables with \`teamtune make-tables FOLDER\` and name their files in tasks (docs/dsbench.md)`,
      { cause },
    );
  }
}

function idsOf(text: string, path: string): string[] {
  const ids = text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const where = `${path} line ${index + 1}`;
    const parsed = row.safeParse(jsonOf(line, where));
    if (parsed.success) return [parsed.data.metadata.task_id];
    throw new BoundaryError('task', `${where}: expected an object with metadata.task_id`);
  });
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new BoundaryError('task', `${path} has the task ${twice} twice`);
  if (ids.length === 0) throw new BoundaryError('task', `${path} holds no task`);
  return ids;
}

function jsonOf(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BoundaryError('task', `${where} is not valid JSON: ${messageOf(cause)}`, { cause });
  }
}

async function readDescriptions(path: string): Promise<Readonly<Record<string, unknown>>> {
  const parsed = z.record(z.string(), z.unknown()).safeParse(jsonOf(await readText(path), path));
  if (parsed.success) return parsed.data;
  throw new BoundaryError('task', `${path}: expected an object of task id → description`);
}

/** The description with its known mistakes mended, or what is wrong with it. */
function describe(id: string, published: unknown): Checked | string {
  const correction: Partial<Description> = Object.hasOwn(corrections, id)
    ? (corrections[id] ?? {})
    : {};
  if (published === undefined && correction.cleaned_prompt === undefined)
    return `${layout.descriptions} does not describe it`;
  const parsed = description.safeParse({ ...(published ?? {}), ...correction });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  return `its description has a wrong ${issue?.path.join('.')}: ${issue?.message}`;
}

async function readTask(id: string, published: unknown, folder: string): Promise<Found> {
  const described = describe(id, published);
  if (typeof described === 'string') return { id, problems: [described] };
  const places = {
    train: join(folder, layout.trainFile(id)),
    test: join(folder, layout.testFile(id)),
    answers: join(folder, layout.answersFile(id)),
  };
  const missing = Object.values(places).filter((place) => !existsSync(place));
  if (missing.length > 0) return { id, problems: [`there is no ${missing.join(', no ')}`] };
  try {
    const [train, test] = await Promise.all([readHeader(places.train), readHeader(places.test)]);
    const answers = await readAnswers(places.answers);
    const table = tableOf(described, places.answers, answers.header);
    const problems = [
      ...mismatches(table, { train, test, answers: answers.header }),
      ...faultsOf(answers, table),
    ];
    const { cleaned_prompt: prompt, task_type: kind } = described;
    const files = { 'train.csv': places.train, 'test.csv': places.test };
    return { id, problems, task: { id, prompt, files, tags: [kind, table.metric], table } };
  } catch (error) {
    if (error instanceof UnreadableTable) return { id, problems: [`a table: ${error.message}`] };
    if (error instanceof BoundaryError) return { id, problems: [error.message] };
    throw error;
  }
}

function tableOf(described: Checked, path: string, answers: readonly string[]): TableTask {
  const { target_column, id_column: idColumn, task_type: kind, metric } = described;
  const all = answers.filter((name) => name !== idColumn);
  const targets = target_column.length === 0 ? all : target_column;
  return { answers: path, metric: metricNamed(metric), kind, idColumn, targets };
}

/** Why no submission could be graded against the answers; columns that they lack are a mismatch and not named again. */
function faultsOf(answers: Answers, { metric, idColumn, targets }: TableTask): string[] {
  if (![idColumn, ...targets].every((name) => answers.header.includes(name))) return [];
  try {
    checkAnswers(answers, metricNamed(metric), { id: idColumn, targets });
    return [];
  } catch (error) {
    if (error instanceof BoundaryError) return [error.message];
    throw error;
  }
}

/** Where tables and description disagree: another competition's description, or answers among what agents see. */
function mismatches(
  { idColumn, targets }: TableTask,
  headers: Readonly<Record<'train' | 'test' | 'answers', readonly string[]>>,
): string[] {
  const lacking = (file: keyof typeof headers, names: readonly string[]) =>
    names
      .filter((name) => !headers[file].includes(name))
      .map((name) => `${file === 'answers' ? 'test_answer' : file}.csv has no column ${name}`);
  const shown = targets.filter((name) => headers.test.includes(name));
  return [
    ...lacking('train', targets),
    ...lacking('test', [idColumn]),
    ...lacking('answers', [idColumn, ...targets]),
    ...shown.map((name) => `test.csv shows the target ${name}`),
  ];
}
