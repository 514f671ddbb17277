import { readFile } from 'node:fs/promises';
import { dirname, parse, resolve } from 'node:path';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Task } from '../types/task.ts';

type Row = { readonly number: number; readonly fields: Readonly<Record<string, unknown>> };

/** Where a row stands, for error messages. */
type Place = { readonly path: string; readonly row: number };

const PROMPT_FIELDS = ['prompt', 'problem', 'question'];
const ANSWER_FIELDS = ['answer', 'label'];
const ID_FIELDS = ['id', 'task_id'];

/**
 * Reads the tasks of a JSON array or a JSON Lines file in the layout of the AIME and AMC files.
 *
 * Which of the two it is, the content tells and not the extension. Fields: `prompt` (or `problem`, `question`),
 * `answer` (or `label`; text, number, or a list whose first entry counts; null and absent mean no ground truth),
 * `id` (text or number; made as `<file stem>-<row>` where absent), `tags` (or `source`) and `files` (name → path,
 * relative to the file). Rows count from 1; in JSON Lines the row is the line.
 *
 * @throws BoundaryError("task") naming file, row and field
 */
export async function loadTasks(path: string): Promise<Task[]> {
  const text = await readText(path);
  const rows = text.trimStart().startsWith('[') ? arrayRows(text, path) : lineRows(text, path);
  if (rows.length === 0) {
    throw new BoundaryError('task', `${path} holds no task; expected a JSON array or JSON Lines.`);
  }
  const tasks = rows.map((row) => taskOf(row, path));
  refuseDuplicates(tasks, rows, path);
  return tasks;
}

async function readText(path: string): Promise<string> {
  try {
    const text = await readFile(path, 'utf8');
    return text.replace(/^\uFEFF/, '');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new BoundaryError(
        'task',
        `There is no task file at ${path}: put it there (docs/mathchat.md says where MathChat's come from), or name another one with tasks.train or tasks.heldOut, for example --set tasks.train=FILE.`,
        { cause },
      );
    }
    if ((cause as NodeJS.ErrnoException).code === 'EISDIR') {
      throw new BoundaryError(
        'task',
        `Expected a task file, and ${path} is a folder; name the file in it.`,
        { cause },
      );
    }
    throw new BoundaryError('task', `The task file ${path} cannot be read: ${messageOf(cause)}.`, {
      cause,
    });
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BoundaryError('task', `${where} is not valid JSON: ${messageOf(cause)}.`, { cause });
  }
}

function arrayRows(text: string, path: string): Row[] {
  const parsed = parseJson(text, path);
  const items: readonly unknown[] = Array.isArray(parsed) ? parsed : [];
  return items.map((item, index) => rowOf(item, { path, row: index + 1 }));
}

function lineRows(text: string, path: string): Row[] {
  const [firstLine = ''] = text.trimStart().split('\n');
  // An object over several lines, as of tasks under a key.
  if (!isObject(firstLine) && isObject(text)) {
    throw new BoundaryError(
      'task',
      `${path} is one JSON object; expected a JSON array of tasks, or JSON Lines with one task in each line.`,
    );
  }
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const place = { path, row: index + 1 };
    return [rowOf(parseJson(line, `${path} row ${place.row}`), place)];
  });
}

function isObject(text: string): boolean {
  try {
    return isRecord(JSON.parse(text));
  } catch {
    return false;
  }
}

function rowOf(value: unknown, place: Place): Row {
  if (!isRecord(value)) {
    throw new BoundaryError(
      'task',
      `${place.path} row ${place.row}: expected an object with a "prompt", got ${describe(value)}.`,
    );
  }
  return { number: place.row, fields: value };
}

function taskOf(row: Row, path: string): Task {
  const place = { path, row: row.number };
  const answer = answerOf(row, place);
  const files = filesOf(row, place);
  const tags = tagsOf(row, place);
  return {
    id: idOf(row, place),
    prompt: promptOf(row, place),
    ...(answer === undefined ? {} : { answer }),
    ...(files === undefined ? {} : { files }),
    ...(tags === undefined ? {} : { tags }),
  };
}

function promptOf(row: Row, place: Place): string {
  const [name, value] = firstPresent(row, PROMPT_FIELDS);
  if (typeof value === 'string' && value.trim() !== '') return value;
  throw wrongField(place, name, 'a non-empty text', value);
}

function answerOf(row: Row, place: Place): string | undefined {
  const [name, value] = firstPresent(row, ANSWER_FIELDS);
  const first: unknown = Array.isArray(value) ? value[0] : value;
  if (first === undefined || first === null) return undefined;
  if (typeof first === 'string' && first.trim() !== '') return first;
  if (typeof first === 'number') return String(first);
  throw wrongField(place, name, 'a text or a number (or null where there is none)', value);
}

function idOf(row: Row, place: Place): string {
  const metadata = row.fields.metadata;
  const nested = isRecord(metadata) ? metadata.task_id : undefined;
  const [name, own] = firstPresent(row, ID_FIELDS);
  const value = own ?? nested;
  if (value === undefined) return `${parse(place.path).name}-${place.row}`;
  if (typeof value === 'string' && value.trim() !== '') return value;
  if (typeof value === 'number') return String(value);
  throw wrongField(place, name, 'a non-empty text or a number', value);
}

function filesOf(row: Row, place: Place): Record<string, string> | undefined {
  const { files } = row.fields;
  if (files === undefined || files === null) return undefined;
  if (!isRecord(files)) throw wrongField(place, 'files', 'an object of name → path', files);
  const entries = Object.entries(files).map(([name, file]): [string, string] => {
    if (typeof file === 'string') return [name, resolve(dirname(place.path), file)];
    throw wrongField(place, `files.${name}`, 'a path', file);
  });
  return Object.fromEntries(entries);
}

function tagsOf(row: Row, place: Place): readonly string[] | undefined {
  const { tags, source } = row.fields;
  if (tags === undefined || tags === null) return typeof source === 'string' ? [source] : undefined;
  if (Array.isArray(tags) && tags.every((tag): tag is string => typeof tag === 'string'))
    return tags;
  throw wrongField(place, 'tags', 'a list of texts', tags);
}

/** The first of `names` that the row has with a value; for messages, the first name when it has none. */
function firstPresent(row: Row, names: readonly string[]): [string, unknown] {
  const present = names.find((name) => row.fields[name] !== undefined && row.fields[name] !== null);
  const name = present ?? names[0] ?? '';
  return [name, row.fields[name] ?? undefined];
}

function refuseDuplicates(tasks: readonly Task[], rows: readonly Row[], path: string): void {
  const seen = new Map<string, number>();
  for (const [index, task] of tasks.entries()) {
    const row = rows[index]?.number ?? index + 1;
    const earlier = seen.get(task.id);
    if (earlier !== undefined) {
      throw new BoundaryError(
        'task',
        `${path} row ${row}: field "id" is "${task.id}", which row ${earlier} already has; give every task its own id.`,
      );
    }
    seen.set(task.id, row);
  }
}

function wrongField(place: Place, field: string, expected: string, value: unknown): BoundaryError {
  return new BoundaryError(
    'task',
    `${place.path} row ${place.row}: field "${field}" must be ${expected}, got ${describe(value)}.`,
  );
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  const shown = JSON.stringify(value) ?? String(value);
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
