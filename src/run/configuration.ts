import { createHash } from 'node:crypto';

/** JSON with sorted keys, so that equal configurations are equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** SHA-256 of a configuration, in hexadecimal; the order of keys does not matter. */
export function hashOf(config: unknown): string {
  return createHash('sha256').update(canonicalJson(config)).digest('hex');
}

/** A configuration less some keys such as `coaching.budget`. */
export function without(config: unknown, keys: readonly string[], path = ''): unknown {
  if (!isObject(config)) return config;
  const entries = Object.entries(config).map(([key, value]) => {
    const inner = path === '' ? key : `${path}.${key}`;
    return [key, inner, value] as const;
  });
  return Object.fromEntries(
    entries
      .filter(([, inner]) => !keys.includes(inner))
      .map(([key, inner, value]) => [key, without(value, keys, inner)]),
  );
}

/** @returns the first place where two configurations differ, for example `update.learningRate was 1, is 2` */
export function firstDifference(before: unknown, after: unknown, path = ''): string | undefined {
  if (canonicalJson([before]) === canonicalJson([after])) return undefined;
  if (isObject(before) && isObject(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const inner = path === '' ? key : `${path}.${key}`;
      const difference = firstDifference(before[key], after[key], inner);
      if (difference !== undefined) return difference;
    }
  }
  return `${path} was ${shown(before)}, is ${shown(after)}`.trim();
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return value === undefined ? 'absent' : JSON.stringify(value);
}
