import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { BoundaryError, messageOf } from '../errors.ts';
import { Database } from '../run/database.ts';
import { optionalText } from '../run/rows.ts';

/** Replies of coaches that held a verdict, by what was asked. */
export type VerdictCache = {
  readonly get: (key: string) => string | undefined;
  readonly set: (key: string, reply: string) => void;
  readonly close: () => void;
};

/** The key of one question: equal exactly where model, prompt version, form of the reply and rendered text are. */
export function cacheKey(question: {
  /** Its name, and what tells it from others of that name. */
  readonly model: readonly string[];
  readonly promptVersion: number;
  /** The form as a JSON schema. */
  readonly form: unknown;
  /** With a fence that is always the same. */
  readonly text: string;
}): string {
  const { model, promptVersion, form, text } = question;
  return createHash('sha256')
    .update(JSON.stringify([model, promptVersion, form, text]))
    .digest('hex');
}

/**
 * A cache in its own SQLite file. It is no part of a run's record: several runs may share it, and deleting it loses
 * nothing but money.
 *
 * @throws BoundaryError("config") when the folder cannot be made
 */
export function openVerdictCache(path: string): VerdictCache {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (cause) {
    const message = `coaching.cache: the folder of ${path} cannot be made: ${messageOf(cause)}`;
    throw new BoundaryError('config', message, { cause });
  }
  let opened: Database | undefined;
  // At the first question, so that a start which fails leaves no file behind.
  const database = () => {
    opened ??= openDatabase(path);
    return opened;
  };
  return {
    get: (key) =>
      optionalText(database().get('SELECT reply FROM replies WHERE key = ?', key)?.reply),
    set: (key, reply) => {
      database().run('INSERT OR REPLACE INTO replies VALUES (?, ?)', key, reply);
    },
    close: () => opened?.close(),
  };
}

function openDatabase(path: string): Database {
  const database = new Database(path, { readOnly: false });
  database.execute('PRAGMA journal_mode = WAL');
  database.execute('PRAGMA synchronous = NORMAL');
  database.execute(
    'CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL) STRICT, WITHOUT ROWID',
  );
  return database;
}
