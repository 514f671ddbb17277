import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { applicationId, schemaSql, schemaVersion, tables } from './schema.ts';

const page = readFileSync(new URL('../../docs/run-directory.md', import.meta.url), 'utf8');

/** Table → its lines `column TYPE` or `column TYPE null`, as the page states them. */
function documentedColumns(): Record<string, string[]> {
  const sections = page.split(/^### /m).slice(1);
  return Object.fromEntries(
    sections.map((section) => {
      const name = /^`(\w+)`/.exec(section)?.[1] ?? '';
      const rows = section.matchAll(/^\| (\w+) +\| (TEXT|INTEGER|REAL|BLOB)( null)? +\|/gm);
      return [
        name,
        [...rows].map(([, column, type, absent]) => `${column} ${type}${absent ?? ''}`),
      ];
    }),
  );
}

function realColumns(): Record<string, string[]> {
  const database = new DatabaseSync(':memory:');
  database.exec(schemaSql);
  return Object.fromEntries(
    tables.map((table) => [
      table,
      database
        .prepare(`PRAGMA table_info(${table})`)
        .all()
        .map(({ name, type, notnull, pk }) => {
          return `${name} ${type}${notnull === 1 || Number(pk) > 0 ? '' : ' null'}`;
        }),
    ]),
  );
}

test('The documented tables and columns are the real ones, in order', () => {
  expect(documentedColumns()).toEqual(realColumns());
});

test('Every table of the schema is named, and the documented versions are the real ones', () => {
  const created = [...schemaSql.matchAll(/CREATE TABLE (\w+)/g)].map(([, name]) => name);
  expect(created).toEqual([...tables]);
  expect(page).toContain(`\`PRAGMA user_version\` is ${schemaVersion}`);
  expect(page).toContain(`\`PRAGMA application_id\` is 0x${applicationId.toString(16)}`);
});
