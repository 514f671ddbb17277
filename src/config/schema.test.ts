import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { maltMethod } from './method-schema.ts';
import { runSchema } from './schema.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8');

/** `key.path` → its schema, for every key that holds a value. */
function keysOf(schema: unknown, path: readonly string[] = []): Map<string, unknown> {
  const inner = (schema as { unwrap?: () => unknown }).unwrap?.() ?? schema;
  const shape = (inner as { shape?: Readonly<Record<string, unknown>> }).shape;
  if (shape === undefined) return new Map([[path.join('.'), schema]]);
  return new Map(
    Object.entries(shape).flatMap(([key, value]) => [...keysOf(value, [...path, key])]),
  );
}

/** A choice with options of its own goes by its `kind`. */
function nameOf(value: unknown): string {
  const isChoice = typeof value === 'object' && value !== null && 'kind' in value;
  return String(isChoice ? value.kind : value);
}

const keys = keysOf(runSchema);
const rows = [...page.matchAll(/^\| `([\w.]+)` \| (.+?) \|/gm)].map(
  ([, key = '', given = '']) => [key, given] as const,
);

test('the page names every key of a run, and no other', () => {
  expect(rows.map(([key]) => key).toSorted()).toEqual([...keys.keys()].toSorted());
});

test('the page states the defaults that hold', () => {
  for (const [key, given] of rows) {
    const parsed = (keys.get(key) as typeof runSchema).safeParse(undefined);
    const written = given.replaceAll('`', '');
    if (written === 'required') expect(parsed.success, key).toBe(false);
    else if (written === '–') expect(parsed, key).toMatchObject({ success: true, data: undefined });
    else expect(nameOf(parsed.data), key).toBe(String(Number(written) || written));
  }
});

test('a run has at most 92 keys, and each is read outside the schema', () => {
  expect(keys.size).toBeLessThanOrEqual(92);
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .filter(
      (file) =>
        /^wir(ing|e-[a-z]+)\.ts$/.test(file) ||
        file === join('config', 'load-config.ts') ||
        file.startsWith('commands'),
    )
    .map((file) => readFileSync(join(root, 'src', file), 'utf8'))
    .join('\n');
  const unread = [...keys.keys()].filter((key) => {
    const last = key.split('.').at(-1) ?? '';
    return !new RegExp(`\\b${last}\\b`).test(sources);
  });
  expect(unread).toEqual([]);
});

test('the guide to MALT names every option of it', () => {
  const guide = readFileSync(join(root, 'docs/malt.md'), 'utf8');
  const named = new Set([...guide.matchAll(/`([\w.]+)`/g)].map(([, name]) => name));
  const options = [...keysOf(maltMethod)].map(([key]) => key).filter((key) => key !== 'kind');
  const missing = options.filter(
    (key) => !named.has(key) && !named.has(key.replace('select.', '')),
  );
  expect(options.length).toBeGreaterThan(15);
  expect(missing).toEqual([]);
});
