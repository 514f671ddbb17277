import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** A file of `bench/`. */
export function benchFile(...path: readonly string[]): string {
  return join(root, 'bench', ...path);
}
