import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelObject } from './resolve-model.ts';

/** As the providers of the AI SDK keep it; an object of another make need not. */
type Configured = {
  readonly config?: {
    readonly baseURL?: unknown;
    readonly url?: (of: { readonly path: string; readonly modelId: string }) => unknown;
  };
};

/** What tells a model from others of its name: its provider and the address at which it is asked, where it has one. */
export function identityOf(model: ModelObject): readonly string[] {
  return [model.provider, model.modelId, addressOf(model) ?? ''];
}

function addressOf(model: ModelObject): string | undefined {
  const { config } = model as Configured;
  if (typeof config?.baseURL === 'string') return config.baseURL;
  if (typeof config?.url !== 'function') return undefined;
  const url = config.url({ path: '', modelId: model.modelId });
  return typeof url === 'string' ? url : undefined;
}

/** Larger files are known by their size and time: a start is not to read all the weights for them. */
const MOST_READ_BYTES = 16 * 2 ** 20;

/** A hash that changes when a file of a model folder does. */
export async function fingerprintOf(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(folder)).toSorted()) {
    const path = join(folder, name);
    const found = await stat(path);
    if (!found.isFile()) continue;
    hash.update(JSON.stringify([name, found.size]));
    if (found.size > MOST_READ_BYTES) hash.update(String(found.mtimeMs));
    else hash.update(await readFile(path));
  }
  return hash.digest('hex');
}
