/**
 * A submission against the answers, joined on the id column: the order of its rows does not matter, and one that lacks
 * rows, columns or values has no score at all rather than one over what is there.
 */
import type { Readable } from 'node:stream';
import { BoundaryError } from '../errors.ts';
import { type Metric, type MetricName, measure, metrics, type TargetColumn } from './metrics.ts';
import { openTable, UnreadableTable } from './read-table.ts';
import { canonicalId, canonicalLabel, isMissing, parseNumber } from './values.ts';

/** What makes a submission unusable, in the order in which it is looked for. */
export type Fault =
  | 'no-file'
  | 'stale'
  | 'unreadable'
  | 'wrong-header'
  | 'duplicate-ids'
  | 'wrong-ids'
  | 'missing-values'
  | 'invalid-values';

export type TableGrade =
  | {
      readonly success: true;
      /** Of the metric; absent where it has none, with the reason. */
      readonly value?: number;
      readonly reason?: string;
      readonly columns: readonly TargetColumn[];
    }
  | { readonly success: false; readonly fault: Fault; readonly reason: string };

/** The answers to a test set. */
export type Answers = {
  readonly path: string;
  readonly header: readonly string[];
  /** One array a column, one cell a row. */
  readonly cells: readonly (readonly string[])[];
};

/** Which columns of the answers count; absent = the first one that the submission has too is the id, all others targets. */
export type Columns = { readonly id: string; readonly targets: readonly string[] };

/** @throws BoundaryError("task") when the file is missing, no table, or has no row */
export async function readAnswers(path: string): Promise<Answers> {
  try {
    const { header, rows } = await openTable(path);
    const cells: string[][] = header.map(() => []);
    for await (const row of rows)
      for (const [column, cell] of row.entries()) cells[column]?.push(cell);
    if (cells[0]?.length === 0) throw new UnreadableTable('it has no row');
    return { path, header, cells };
  } catch (error) {
    if (!(error instanceof UnreadableTable)) throw error;
    throw new BoundaryError('task', `the answers ${path} cannot be used: ${error.message}`, {
      cause: error,
    });
  }
}

/**
 * Whether submissions can be graded against the answers at all.
 *
 * @throws BoundaryError("task") for an id that is missing or there twice, or a cell that the metric cannot read
 */
export function checkAnswers(answers: Answers, metric: MetricName, { id, targets }: Columns): void {
  idsOf(answers, id);
  for (const name of targets) truthOf(answers, metric, name);
}

/**
 * Grades a submission.
 *
 * @param submission a path, or the content as a stream; absent = none was handed in
 * @throws BoundaryError("task") when the answers do not fit the metric or the columns
 */
export async function gradeTable(
  submission: string | Readable | undefined,
  answers: Answers,
  metric: MetricName,
  columns?: Columns,
): Promise<TableGrade> {
  if (submission === undefined) return failed('no-file', 'there is no submission');
  try {
    const table = await openTable(submission);
    const chosen = columns ?? sharedColumns(answers.header, table.header);
    const fault = headerFault(table.header, chosen, answers.header);
    if (fault !== undefined) return fault;
    const sheet = openSheet(answers, metric, chosen);
    const positions = [chosen.id, ...chosen.targets].map((name) => table.header.indexOf(name));
    for await (const row of table.rows) {
      sheet.enter(positions.map((position) => row[position] ?? ''));
      if (sheet.isHopeless()) break;
    }
    return sheet.verdict() ?? measured(metric, sheet.columns());
  } catch (error) {
    if (!(error instanceof UnreadableTable)) throw error;
    const isAbsent = error.message === 'there is no such file';
    return failed(isAbsent ? 'no-file' : 'unreadable', `submission: ${error.message}`);
  }
}

export function failed(fault: Fault, reason: string): TableGrade & { readonly success: false } {
  return { success: false, fault, reason };
}

function measured(metric: MetricName, columns: readonly TargetColumn[]): TableGrade {
  const value = measure(metric, columns);
  if (value !== undefined)
    return Number.isFinite(value)
      ? { success: true, value, columns }
      : failed('invalid-values', `${metric} of these predictions is too large to be a number`);
  const { needs = 'other values' }: Metric = metrics[metric];
  return { success: true, reason: `${metric} has no value here: it needs ${needs}`, columns };
}

function sharedColumns(header: readonly string[], theirs: readonly string[]): Columns {
  const id = header.find((name) => theirs.includes(name)) ?? header[0] ?? '';
  return { id, targets: header.filter((name) => name !== id) };
}

function headerFault(
  header: readonly string[],
  { id, targets }: Columns,
  answers: readonly string[],
): TableGrade | undefined {
  const wanted = [id, ...targets];
  const isRight = header.length === wanted.length && wanted.every((name) => header.includes(name));
  if (isRight && targets.length > 0) return undefined;
  const columns = answers.filter((name) => wanted.includes(name));
  const shown = (names: readonly string[]) => names.slice(0, 20).join(', ');
  return failed('wrong-header', `expected the columns ${shown(columns)}, got ${shown(header)}`);
}

/** A submission as it is filled in, row by row. */
type Sheet = {
  /** @param cells the id, then one cell a target */
  readonly enter: (cells: readonly string[]) => void;
  /** Whether so much is wrong that the rest need not be read. */
  readonly isHopeless: () => boolean;
  readonly verdict: () => TableGrade | undefined;
  readonly columns: () => readonly TargetColumn[];
};

function openSheet(answers: Answers, metric: MetricName, chosen: Columns): Sheet {
  const ids = idsOf(answers, chosen.id);
  const targets = chosen.targets.map((name) => openTarget(answers, metric, name));
  const seen = new Uint8Array(ids.size);
  const [repeated, unknown] = [new Tally(), new Tally()];
  const enter = ([idCell = '', ...cells]: readonly string[]) => {
    const id = canonicalId(idCell);
    const row = ids.get(id);
    if (row === undefined) return unknown.add(id);
    if (seen[row] === 1) return repeated.add(id);
    seen[row] = 1;
    for (const [index, target] of targets.entries()) target.enter(row, cells[index] ?? '', id);
  };
  const verdict = () => {
    if (repeated.count > 0)
      return failed('duplicate-ids', `${repeated.describe('rows')} have an id that came before`);
    const missing = seen.reduce((count, isThere) => count + 1 - isThere, 0);
    if (missing + unknown.count > 0) return wrongIds(ids, seen, unknown);
    return (
      targets.map(({ missingFault }) => missingFault()).find((fault) => fault !== undefined) ??
      targets.map(({ invalidFault }) => invalidFault()).find((fault) => fault !== undefined)
    );
  };
  return {
    enter,
    isHopeless: () => repeated.count + unknown.count > ids.size + 1000,
    verdict,
    columns: () => targets.map(({ column }) => column),
  };
}

/** How often something was met, and the first of it. */
class Tally {
  count = 0;
  #first = '';

  add(what: string): void {
    if (this.count === 0) this.#first = what.slice(0, 60);
    this.count++;
  }

  describe(noun: string): string {
    return `${this.count} ${noun} (the first: "${this.#first}")`;
  }
}

function wrongIds(
  ids: ReadonlyMap<string, number>,
  seen: Uint8Array,
  unknown: Tally,
): TableGrade & { readonly success: false } {
  const missing = [...ids].filter(([, row]) => seen[row] === 0).map(([id]) => id);
  const parts = [
    missing.length === 0
      ? []
      : [`${missing.length} of ${ids.size} ids are missing (the first: "${missing[0]}")`],
    unknown.count === 0
      ? []
      : [`${unknown.describe('rows')} have an id that is not in the test set`],
  ];
  return failed('wrong-ids', parts.flat().join('; '));
}

function cellsOf({ path, header, cells }: Answers, name: string): readonly string[] {
  const column = cells[header.indexOf(name)];
  if (column !== undefined) return column;
  throw new BoundaryError(
    'task',
    `the answers ${path} have no column ${name}; they have ${header.join(', ')}`,
  );
}

function idsOf(answers: Answers, name: string): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const [row, cell] of cellsOf(answers, name).entries()) {
    const id = canonicalId(cell);
    if (ids.has(id) || id === '') {
      const fault = id === '' ? 'a row without an id' : `two rows with the id "${id}"`;
      throw new BoundaryError('task', `the answers ${answers.path} have ${fault} in ${name}`);
    }
    ids.set(id, row);
  }
  return ids;
}

/** One target column as it is filled in. */
function openTarget(answers: Answers, metric: MetricName, name: string) {
  const truth = truthOf(answers, metric, name);
  const known = new Set(truth);
  const areWhole = [...known].every((label) => /^-?\d+$/.test(label));
  const { predicted: kind }: Metric = metrics[metric];
  const read = (cell: string): string | undefined =>
    kind === 'label' ? readLabel(cell, areWhole) : readers[kind](cell);
  const predicted: string[] = new Array<string>(truth.length).fill('');
  const [missing, invalid] = [new Tally(), new Tally()];
  let isKnown = kind !== 'label';
  const enter = (row: number, cell: string, id: string) => {
    // Of a text, only nothing at all is no value: it may well be the word "none".
    const isEmpty = kind === 'text' ? cell.trim() === '' : isMissing(cell);
    if (isEmpty && !known.has(cell.trim())) return missing.add(id);
    const value = read(cell);
    if (value === undefined) return invalid.add(cell);
    if (known.has(value)) isKnown = true;
    predicted[row] = value;
  };
  return {
    column: { truth, predicted },
    enter,
    missingFault: () =>
      missing.count === 0
        ? undefined
        : failed('missing-values', `${missing.describe('rows')} have no value in ${name}`),
    invalidFault: () => {
      if (invalid.count > 0) {
        const what = `${invalid.describe('values')} in ${name}`;
        return failed('invalid-values', `${what}: ${metric} takes ${wordsFor[kind]}`);
      }
      if (isKnown) return undefined;
      const labels = [...known].slice(0, 5).join(', ');
      return failed('invalid-values', `no value in ${name} is one of its labels (${labels}, …)`);
    },
  };
}

const wordsFor: Readonly<Record<Metric['predicted'], string>> = {
  number: 'a number',
  count: 'a number that is not negative',
  score: 'a number',
  probability: 'a number from 0 to 1',
  label: 'a label; a whole number where the labels are numbers',
  ranking: 'labels, best first, with blanks between',
  text: 'a text',
};

function readNumber(cell: string, isIn: (value: number) => boolean): string | undefined {
  const value = parseNumber(cell);
  return value !== undefined && isIn(value) ? cell.trim() : undefined;
}

const readers: Readonly<
  Record<
    Exclude<Metric['predicted'], 'label'>,
    typeof canonicalLabel | ((cell: string) => string | undefined)
  >
> = {
  number: (cell) => readNumber(cell, () => true),
  score: (cell) => readNumber(cell, () => true),
  count: (cell) => readNumber(cell, (value) => value >= 0),
  probability: (cell) => readNumber(cell, (value) => value >= 0 && value <= 1),
  ranking: (cell) => cell.trim().split(/\s+/).map(canonicalLabel).join(' '),
  text: (cell) => cell.trim(),
};

function readLabel(cell: string, areWhole: boolean): string | undefined {
  const label = canonicalLabel(cell);
  return !areWhole || /^-?\d+$/.test(label) ? label : undefined;
}

/** The column of the answers as its metric reads it. @throws BoundaryError("task") when it does not fit */
function truthOf(answers: Answers, metric: MetricName, name: string): readonly string[] {
  const { measure: how, predicted: kind }: Metric = metrics[metric];
  return cellsOf(answers, name).map((cell, row) => {
    const value = kind === 'text' ? cell.trim() : canonicalLabel(cell);
    const number = how.reads === 'numbers' ? parseNumber(value) : undefined;
    const fits =
      how.reads === 'numbers'
        ? number !== undefined && (kind !== 'count' || number >= 0)
        : value !== '';
    if (fits) return value;
    throw new BoundaryError(
      'task',
      `the answers ${answers.path} do not fit ${metric}: row ${row + 2} has "${cell}" in ${name}`,
    );
  });
}
