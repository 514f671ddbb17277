import { basename } from 'node:path';
import { type ParsedTarFileItem, parseTar, parseTarGzip } from 'nanotar';
import { BoundaryError } from '../../errors.ts';
import type { Connection } from './connection.ts';
import { refusal } from './replies.ts';

const configName = 'adapter_config.json';
const weightsName = 'adapter_model.safetensors';
const wanted = [configName, weightsName] as const;

/** The PEFT files of a sampler's weights that a server keeps, by name. */
export async function fetchAdapterFiles(
  connection: Connection,
  path: string,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const { name, data } of await unpack(await fetchArchive(connection, path))) {
    const known = wanted.find((each) => each === basename(name));
    if (known !== undefined && data !== undefined) files.set(known, data);
  }
  const missing = wanted.filter((name) => !files.has(name));
  if (missing.length === 0) return files.set(configName, completeConfig(files));
  throw new BoundaryError(
    'engine',
    `the server's archive of ${path} holds no ${missing.join(' and no ')}`,
  );
}

/**
 * The configuration with the modules that the weights are of. SkyRL leaves `target_modules` empty, for which `peft`
 * takes the architecture's usual ones and leaves out the others without a word.
 */
function completeConfig(files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const bytes = files.get(configName) ?? new Uint8Array();
  const config: Record<string, unknown> = JSON.parse(new TextDecoder().decode(bytes));
  if (config.target_modules) return bytes;
  const modules = tensorNames(files.get(weightsName) ?? new Uint8Array()).flatMap(
    (name) => /([^.]+)\.lora_[AB]\./.exec(name)?.[1] ?? [],
  );
  const complete = { ...config, target_modules: [...new Set(modules)].sort() };
  return new TextEncoder().encode(JSON.stringify(complete, undefined, 2));
}

/** Of a safetensors file: its header is JSON, after the header's length in 8 bytes. */
function tensorNames(file: Uint8Array): readonly string[] {
  const length = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  return Object.keys(JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))));
}

async function fetchArchive(connection: Connection, path: string): Promise<Uint8Array> {
  const [, model, name] = /^tinker:\/\/([^/]+)\/(?:sampler_weights\/)?([^/]+)$/.exec(path) ?? [];
  if (model === undefined || name === undefined) {
    throw new BoundaryError(
      'engine',
      `the server saved the adapter under a name of no known form: ${path}`,
    );
  }
  const what = `the files of ${path}`;
  const archive = `/training_runs/${model}/checkpoints/${name}/archive`;
  const reply = await connection.call({ method: 'GET', path: archive, what });
  if (reply.location === undefined) throw refusal(reply, what);
  return download(connection, new URL(reply.location, `${connection.url}/`), what);
}

/** The key goes to the server itself alone, not to the store that it may name. */
async function download(connection: Connection, place: URL, what: string): Promise<Uint8Array> {
  const own = `${connection.url}/api/v1`;
  const isOwn = place.href.startsWith(own);
  if (isOwn) {
    const path = place.href.slice(own.length);
    const accept = 'application/octet-stream';
    const reply = await connection.call({ method: 'GET', path, what, accept });
    if (reply.bytes === undefined) throw refusal(reply, what);
    return reply.bytes;
  }
  const response = await fetch(place, {
    signal: AbortSignal.timeout(connection.patience.resultMs),
  });
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (response.ok) return bytes;
  throw refusal({ status: response.status, detail: '' }, what);
}

async function unpack(archive: Uint8Array): Promise<readonly ParsedTarFileItem[]> {
  const isCompressed = archive[0] === 0x1f && archive[1] === 0x8b;
  return isCompressed ? parseTarGzip(archive) : parseTar(archive);
}
