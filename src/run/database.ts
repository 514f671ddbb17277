import {
  DatabaseSync,
  type SQLInputValue,
  type SQLOutputValue,
  type StatementSync,
} from 'node:sqlite';
import { BoundaryError } from '../errors.ts';
import { explainSqliteFailure } from './explain-failure.ts';
import type { TableName } from './schema.ts';
import { toStored } from './stored-text.ts';

/** Column → value as SQLite takes it; an absent value is null. */
export type InputRow = Readonly<Record<string, SQLInputValue>>;
export type OutputRow = Readonly<Record<string, SQLOutputValue>>;

/** How long a statement waits for another process that folds the write-ahead log into the database. */
const busyTimeoutMs = 5000;

/** One SQLite file whose every failure is a sentence; close it after use. */
export class Database {
  readonly path: string;
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @throws BoundaryError("run") when the file cannot be opened */
  constructor(path: string, options: { readonly readOnly: boolean }) {
    this.path = path;
    this.#connection = guard(path, () => {
      return new DatabaseSync(path, { readOnly: options.readOnly, timeout: busyTimeoutMs });
    });
  }

  /** Runs statements that return nothing. */
  execute(sql: string): void {
    guard(this.path, () => this.#connection.exec(sql));
  }

  /** @returns the number of rows changed */
  run(sql: string, ...values: SQLInputValue[]): number {
    return guard(this.path, () => Number(this.#prepared(sql).run(...values.map(storable)).changes));
  }

  all(sql: string, ...values: SQLInputValue[]): OutputRow[] {
    return guard(this.path, () => this.#prepared(sql).all(...values.map(storable)));
  }

  get(sql: string, ...values: SQLInputValue[]): OutputRow | undefined {
    return guard(this.path, () => this.#prepared(sql).get(...values.map(storable)));
  }

  /** Rows one by one, for tables that do not fit into memory. */
  *each(sql: string): Generator<OutputRow> {
    // Its own statement: a cached one could be reset by the same query while this one is half read.
    const rows = guard(this.path, () => this.#connection.prepare(sql).iterate());
    for (;;) {
      const next = guard(this.path, () => rows.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  /** All of `body`'s writes, or none of them. */
  transaction(body: () => void): void {
    this.execute('BEGIN IMMEDIATE');
    try {
      body();
      this.execute('COMMIT');
    } catch (error) {
      // SQLite has already rolled back after some failures, a full disk among them.
      if (this.#connection.isTransaction) this.execute('ROLLBACK');
      throw error;
    }
  }

  /**
   * Adds a row; the same row again changes nothing, so that a resumed run may repeat itself.
   *
   * @throws BoundaryError("run") when the key is taken by a row with other content
   */
  insertOnce(table: TableName, keys: readonly string[], row: InputRow): void {
    const columns = Object.keys(row);
    const marks = columns.map(() => '?').join(', ');
    const changes = this.run(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${marks}) ON CONFLICT (${keys.join(', ')}) DO NOTHING`,
      ...Object.values(row),
    );
    if (changes === 0) this.#expectSame(table, keys, row);
  }

  #expectSame(table: TableName, keys: readonly string[], row: InputRow): void {
    const condition = keys.map((key) => `${key} = ?`).join(' AND ');
    const values = keys.map((key) => row[key] ?? null);
    const stored = this.get(`SELECT * FROM ${table} WHERE ${condition}`, ...values);
    const changed = Object.keys(row).find((column) => !isSame(row[column], stored?.[column]));
    if (changed === undefined) return;
    throw new BoundaryError(
      'run',
      `run database ${this.path}: ${table} already holds ${values.join(', ')} with another ${changed}; ` +
        'an id names one fact, so use another run directory for another run',
    );
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#connection.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  close(): void {
    this.#statements.clear();
    if (this.#connection.isOpen) guard(this.path, () => this.#connection.close());
  }
}

function guard<Result>(path: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw explainSqliteFailure(path, error);
  }
}

function storable(value: SQLInputValue): SQLInputValue {
  return typeof value === 'string' ? toStored(value) : value;
}

function isSame(given: SQLInputValue | undefined, stored: SQLOutputValue | undefined): boolean {
  if (given instanceof Uint8Array && stored instanceof Uint8Array) {
    return Buffer.compare(given, stored) === 0;
  }
  return storable(given ?? null) === stored;
}
