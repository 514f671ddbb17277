import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { BoundaryError, messageOf } from '../errors.ts';
import { Database } from './database.ts';
import { adviceForFile } from './explain-failure.ts';
import { applicationId, migrations, schemaSql, schemaVersion } from './schema.ts';

export type RunMode = 'create' | 'resume' | 'read';

function databasePath(directory: string): string {
  return join(directory, 'run.db');
}

/** Makes the directory where it is missing, or says why a run cannot live there. */
export function prepareDirectory(directory: string, mode: RunMode): void {
  if (mode !== 'create' && !existsSync(databasePath(directory))) {
    throw new BoundaryError(
      'run',
      `${directory} holds no run (expected a file run.db in it): name the directory of a run that was started`,
    );
  }
  if (mode !== 'create') return;
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    const reason = adviceForFile(error) ?? messageOf(error);
    throw new BoundaryError('run', `run directory ${directory} cannot be made: ${reason}`, {
      cause: error,
    });
  }
}

/**
 * Opens the database of a prepared directory and makes its tables where the run is new.
 *
 * A run of an older schema is brought to this one first, also to be read: new tables are added, nothing is changed.
 *
 * @throws BoundaryError("run") when it is missing, foreign, damaged, of a newer schema, or already a run in mode `create`
 */
export function openDatabase(directory: string, mode: RunMode): Database {
  const path = databasePath(directory);
  if (mode === 'read') return opened(path, true, (database) => checkSchema(database, path));
  return opened(path, false, (database) => prepareForWriting(database, directory, mode));
}

function opened(path: string, readOnly: boolean, prepare: (database: Database) => void): Database {
  const database = new Database(path, { readOnly });
  try {
    prepare(database);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function prepareForWriting(database: Database, directory: string, mode: RunMode): void {
  // A run that was killed before its tables were made is as good as new.
  const isNew = headerNumber(database, 'user_version') === 0 && countTables(database) === 0;
  if (mode === 'create' && !isNew) {
    throw new BoundaryError(
      'run',
      `${directory} already holds a run: continue it with --resume, or choose another directory`,
    );
  }
  if (!isNew) checkSchema(database, database.path);
  // With NORMAL a commit is handed to the operating system before it returns: a killed process loses nothing that it
  // reported as written. Only a power cut could, and only back to the last completed step (see Run.completeStep).
  database.execute('PRAGMA journal_mode = WAL');
  database.execute('PRAGMA synchronous = NORMAL');
  // The log is folded into the database when a step is completed; while agents play, no write waits for the disk
  // before the log has 16,000 pages (64 MB).
  database.execute('PRAGMA wal_autocheckpoint = 16000');
  if (isNew) createTables(database);
}

function createTables(database: Database): void {
  database.transaction(() => {
    database.execute(schemaSql);
    database.execute(`PRAGMA application_id = ${applicationId}`);
    database.execute(`PRAGMA user_version = ${schemaVersion}`);
  });
}

function checkSchema(database: Database, path: string): void {
  if (headerNumber(database, 'application_id') !== applicationId) {
    throw new BoundaryError(
      'run',
      `${path} is a database, but not of a run: name a directory that \`teamtune train\` wrote`,
    );
  }
  const version = headerNumber(database, 'user_version');
  if (version === schemaVersion) return;
  if (version > 0 && version < schemaVersion) {
    opened(path, false, migrate).close();
    return;
  }
  throw new BoundaryError(
    'run',
    `run database ${path} has schema ${version} and this teamtune reads schemas up to ${schemaVersion}: ` +
      'open it with the teamtune version that wrote it',
  );
}

/** One version after another; two processes that meet here do it once. */
function migrate(database: Database): void {
  database.transaction(() => {
    for (let version = headerNumber(database, 'user_version'); version < schemaVersion; version++) {
      database.execute(migrations[version] as string);
      database.execute(`PRAGMA user_version = ${version + 1}`);
    }
  });
}

function headerNumber(database: Database, name: 'application_id' | 'user_version'): number {
  return Number(database.get(`PRAGMA ${name}`)?.[name]);
}

function countTables(database: Database): number {
  return Number(database.get('SELECT count(*) AS count FROM sqlite_schema')?.count);
}
