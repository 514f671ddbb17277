import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { parse } from 'csv-parse';

/** Longest line that is still taken for a row, characters. */
const longestRow = 2 ** 20;

/** A comma-separated file, row by row, so that a file of any size needs little memory. */
export type TableReader = {
  readonly header: readonly string[];
  /** Rows after the header, each as long as it. @throws UnreadableTable */
  readonly rows: AsyncIterable<readonly string[]>;
};

/** What is not a table, with where and why; a value of the file, not a failure of ours. */
export class UnreadableTable extends Error {
  override readonly name = 'UnreadableTable';
}

function explain(error: unknown): never {
  const { code, message, lines } = error as {
    readonly code?: string;
    readonly message?: string;
    readonly lines?: number;
  };
  if (code === 'ENOENT') throw new UnreadableTable('there is no such file');
  if (code === 'EISDIR') throw new UnreadableTable('it is a folder');
  const where = lines === undefined ? '' : `line ${lines}: `;
  throw new UnreadableTable(`${where}${message ?? String(error)}`, { cause: error });
}

async function* recordsOf(source: Readable): AsyncGenerator<readonly string[]> {
  const parser = source.pipe(
    parse({ bom: true, skip_empty_lines: true, max_record_size: longestRow }),
  );
  // A pipe hands on no failure of its source.
  source.once('error', (error) => parser.destroy(error));
  try {
    for await (const record of parser) yield record as readonly string[];
  } catch (error) {
    explain(error);
  } finally {
    source.destroy();
  }
}

/**
 * Opens a CSV file: UTF-8, with or without byte order mark, lines ended in any way, fields quoted or not.
 *
 * @param source a path, or the content as a stream
 * @throws UnreadableTable for no file, no header, a column without or with another's name
 */
export async function openTable(source: string | Readable): Promise<TableReader> {
  const stream = typeof source === 'string' ? createReadStream(source) : source;
  const records = recordsOf(stream);
  const first = await records.next();
  if (first.done) throw new UnreadableTable('it is empty');
  const header = first.value.map((name) => name.trim());
  const twice = header.find((name, index) => header.indexOf(name) !== index);
  if (twice !== undefined) {
    await records.return(undefined);
    throw new UnreadableTable(`two columns are named "${twice}"`);
  }
  return { header, rows: records };
}

/** The column names of a CSV file. @throws UnreadableTable */
export async function readHeader(path: string): Promise<readonly string[]> {
  const { header, rows } = await openTable(path);
  for await (const _ of rows) break;
  return header;
}
