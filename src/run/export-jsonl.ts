import type { SQLOutputValue } from 'node:sqlite';
import { BoundaryError } from '../errors.ts';
import type { Database, OutputRow } from './database.ts';
import { replaceFile } from './replace-file.ts';
import { bufferOf, optionalText, text } from './rows.ts';
import { type TableName, tables } from './schema.ts';

/** Columns that are not plain numbers or text in the database, and how they read in JSON. */
const converters: Readonly<Record<string, (value: SQLOutputValue) => unknown>> = {
  observation: (value) => [...new Int32Array(bufferOf(value))],
  tokens: (value) => [...new Int32Array(bufferOf(value))],
  logprobs: (value) => [...new Float32Array(bufferOf(value))],
  behaviour_logprobs: (value) => [...new Float32Array(bufferOf(value))],
  tool_calls: (value) => JSON.parse(text(value)),
  tool_results: (value) => JSON.parse(text(value)),
  actions: (value) => JSON.parse(text(value)),
  correct: (value) => value === 1,
};

/**
 * Writes a table as JSON Lines, one row an object with the table's column names; absent values are left out.
 *
 * @throws BoundaryError("run") for an unknown table or when the file cannot be written
 */
export function exportJsonl(database: Database, table: string, path: string): void {
  if (!isTable(table)) {
    throw new BoundaryError(
      'run',
      `a run has no table ${table}: expected one of ${tables.join(', ')}`,
    );
  }
  replaceFile(path, linesOf(database, table));
}

function isTable(name: string): name is TableName {
  return tables.some((table) => table === name);
}

function* linesOf(database: Database, table: TableName): Generator<string> {
  for (const row of database.each(`SELECT * FROM ${table}`)) {
    yield `${JSON.stringify(readable(row))}\n`;
  }
}

function readable(row: OutputRow): Record<string, unknown> {
  const present = Object.entries(row).filter(([, value]) => value !== null);
  return Object.fromEntries(
    present.map(([column, value]) => [
      column,
      converters[column]?.(value) ?? optionalText(value) ?? value,
    ]),
  );
}
