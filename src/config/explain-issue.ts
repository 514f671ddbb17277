import { closest } from 'fastest-levenshtein';
import type { z } from 'zod';
import { runSchema } from './schema.ts';

type Tree = { readonly [key: string]: unknown };

/** One problem of a config as a sentence: the key, what was expected and what came. */
export function explainIssue(issue: z.core.$ZodIssue, input: Tree): string {
  const path = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.path);
    return issue.keys
      .map((key) => {
        const full = [...issue.path, key].join('.');
        if (known.includes(key)) return `unknown key ${full} (another kind of ${path} has it)`;
        return `unknown key ${full}${known.length > 0 ? ` (did you mean ${[...issue.path, closest(key, known)].join('.')}?)` : ''}`;
      })
      .join('; ');
  }
  return `${path || 'the config'}: ${issue.message}${whatCame(issue, input)}`;
}

function whatCame(issue: z.core.$ZodIssue, input: Tree): string {
  const found = valueAt(input, issue.path);
  if (found === undefined) return ', but it is missing';
  const within = issue.code === 'invalid_union' ? problemsWithin(issue, input) : '';
  return `, got ${describe(found.value)}${within}`;
}

/** The value at a path; of one that ends early in a word, such as `method.kind` of "mappa", that word. */
function valueAt(input: Tree, path: readonly PropertyKey[]): { value: unknown } | undefined {
  let value: unknown = input;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) break;
    if (!(part in value)) return undefined;
    value = (value as Readonly<Record<PropertyKey, unknown>>)[part];
  }
  return { value };
}

/** Of a choice between kinds of values: what is wrong inside the one that came. */
function problemsWithin(issue: z.core.$ZodIssueInvalidUnion, input: Tree): string {
  const isInside = ({ path, code }: z.core.$ZodIssue) =>
    path.length > 0 || code === 'unrecognized_keys';
  const inner = issue.errors.find((problems) => problems.every(isInside)) ?? [];
  const told = inner.map((one) =>
    explainIssue({ ...one, path: [...issue.path, ...one.path] }, input),
  );
  return told.length === 0 ? '' : ` (${told.join('; ')})`;
}

function describe(value: unknown): string {
  return typeof value === 'object' || typeof value === 'function'
    ? `${Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : 'a function'}`
    : JSON.stringify(value);
}

function knownKeys(path: readonly PropertyKey[]): string[] {
  let schema: unknown = runSchema;
  for (const part of path) schema = unwrap(shapeOf(schema)?.[String(part)]);
  return Object.keys(shapeOf(schema) ?? {});
}

/** Keys of a schema; of a choice among several, those of all. */
function shapeOf(schema: unknown): Tree | undefined {
  const { shape, options } = (schema ?? {}) as { shape?: unknown; options?: unknown };
  if (Array.isArray(options)) return Object.assign({}, ...options.map(shapeOf));
  return typeof shape === 'object' ? (shape as Tree) : undefined;
}

function unwrap(schema: unknown): unknown {
  const { unwrap: inner, out } = (schema ?? {}) as { unwrap?: () => unknown; out?: unknown };
  if (out !== undefined) return unwrap(out);
  return typeof inner === 'function' ? unwrap(inner.call(schema)) : schema;
}
