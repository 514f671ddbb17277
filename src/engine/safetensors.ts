import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { BoundaryError } from '../errors.ts';

const elementBytes = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4 } as const;

export type StoredDtype = keyof typeof elementBytes;

/** One array as it lies in a file: little-endian, row-major. */
export type StoredTensor = {
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
};

/** Where an array lies; `begin` and `end` are byte offsets from the start of the file. */
type Entry = {
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
};

/** A checked header; the arrays stay on disk until `readStoredTensor` asks for one. */
export type SafetensorsFile = {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly entries: ReadonlyMap<string, Entry>;
};

const headerEntry = z.object({
  dtype: z.string(),
  shape: z.array(z.number().int().nonnegative()),
  data_offsets: z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]),
});
const headerSchema = z.record(z.string(), z.unknown());
const metadataSchema = z.record(z.string(), z.string());

/** The format's own limit: a larger header is taken for a damaged file. */
const maxHeaderBytes = 100_000_000;

/**
 * Reads and checks the header of a safetensors file.
 *
 * @throws BoundaryError("engine") when the file is missing, cut short, not safetensors, or its offsets do not tile the data
 * @see https://github.com/huggingface/safetensors (format)
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await openForReading(path);
  try {
    const { size } = await file.stat();
    const headerLength = await readHeaderLength(file, path, size);
    const header = parseHeader(
      await readRange(file, path, { begin: 8, end: 8 + headerLength }),
      path,
    );
    const { __metadata__: rawMetadata, ...rawEntries } = header;
    const dataStart = 8 + headerLength;
    const entries = new Map<string, Entry>();
    for (const [name, raw] of Object.entries(rawEntries)) {
      entries.set(name, parseEntry(raw, `${path}: ${name}`, dataStart));
    }
    checkTiling(entries, path, { dataStart, size });
    return { path, metadata: metadataSchema.catch({}).parse(rawMetadata ?? {}), entries };
  } finally {
    await file.close();
  }
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    throw new BoundaryError('engine', `Cannot open ${path}; expected a safetensors file there`, {
      cause,
    });
  }
}

async function readHeaderLength(file: FileHandle, path: string, size: number): Promise<number> {
  if (size < 8) {
    throw new BoundaryError(
      'engine',
      `${path} has ${size} bytes; a safetensors file has at least 8`,
    );
  }
  const prefix = await readRange(file, path, { begin: 0, end: 8 });
  const length = Number(Buffer.from(prefix.buffer, prefix.byteOffset, 8).readBigUInt64LE());
  if (length > maxHeaderBytes || 8 + length > size) {
    throw new BoundaryError(
      'engine',
      `${path} is cut short or not safetensors: its header claims ${length} bytes and the file has ${size}`,
    );
  }
  return length;
}

function parseHeader(bytes: Uint8Array, path: string): Record<string, unknown> {
  try {
    return headerSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new BoundaryError(
      'engine',
      `${path} is not safetensors: its header is not a JSON object`,
      {
        cause,
      },
    );
  }
}

function parseEntry(raw: unknown, where: string, dataStart: number): Entry {
  const parsed = headerEntry.safeParse(raw);
  if (!parsed.success) {
    throw new BoundaryError(
      'engine',
      `${where}: expected {dtype, shape, data_offsets} in the header, got ${JSON.stringify(raw)}`,
    );
  }
  const { dtype, shape, data_offsets: offsets } = parsed.data;
  if (!isStoredDtype(dtype)) {
    const known = Object.keys(elementBytes).join(', ');
    throw new BoundaryError(
      'engine',
      `${where}: dtype ${dtype} is not supported; supported: ${known}`,
    );
  }
  const expected = elementCount(shape) * elementBytes[dtype];
  if (offsets[1] - offsets[0] !== expected) {
    throw new BoundaryError(
      'engine',
      `${where}: ${dtype} [${shape.join(', ')}] needs ${expected} bytes, its offsets span ${offsets[1] - offsets[0]}`,
    );
  }
  return { dtype, shape, begin: dataStart + offsets[0], end: dataStart + offsets[1] };
}

function isStoredDtype(dtype: string): dtype is StoredDtype {
  return Object.hasOwn(elementBytes, dtype);
}

/** The format allows neither overlaps nor holes: the arrays cover the rest of the file exactly. */
function checkTiling(
  entries: ReadonlyMap<string, Entry>,
  path: string,
  { dataStart, size }: { readonly dataStart: number; readonly size: number },
): void {
  const sorted = [...entries].sort(
    ([, left], [, right]) => left.begin - right.begin || left.end - right.end,
  );
  let reached = dataStart;
  for (const [name, entry] of sorted) {
    if (entry.begin !== reached) {
      const fault =
        entry.begin < reached ? 'overlaps the array before it' : 'leaves a hole before it';
      throw new BoundaryError('engine', `${path}: ${name} ${fault}; the file is damaged`);
    }
    reached = entry.end;
  }
  if (reached !== size) {
    throw new BoundaryError(
      'engine',
      `${path} is cut short or damaged: its header describes ${reached} bytes and the file has ${size} bytes; copy it again from where it is whole`,
    );
  }
}

/**
 * Reads one array.
 *
 * @throws BoundaryError("engine") when the file has no array of that name or was cut short since its header was read
 */
export async function readStoredTensor(file: SafetensorsFile, name: string): Promise<StoredTensor> {
  const entry = file.entries.get(name);
  if (entry === undefined) {
    throw new BoundaryError('engine', `${file.path} has no array named ${name}`);
  }
  const handle = await openForReading(file.path);
  try {
    const bytes = await readRange(handle, file.path, entry);
    return { dtype: entry.dtype, shape: entry.shape, bytes };
  } finally {
    await handle.close();
  }
}

async function readRange(
  file: FileHandle,
  path: string,
  { begin, end }: { readonly begin: number; readonly end: number },
): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - begin);
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, begin + done);
    if (bytesRead === 0) {
      throw new BoundaryError(
        'engine',
        `${path} is cut short: nothing to read at byte ${begin + done}`,
      );
    }
    done += bytesRead;
  }
  return bytes;
}

/**
 * Writes a safetensors file so that a reader sees the old file or the whole new one, never a part.
 *
 * @param tensors name → array; the order does not matter, equal contents give equal files
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  // Wide elements first keep every array aligned; by name within a width so that equal contents are equal bytes.
  const sorted = [...tensors].sort(
    ([leftName, left], [rightName, right]) =>
      elementBytes[right.dtype] - elementBytes[left.dtype] || compareNames(leftName, rightName),
  );
  const header: Record<string, unknown> = { __metadata__: { format: 'pt', ...metadata } };
  let offset = 0;
  for (const [name, tensor] of sorted) {
    const end = offset + tensor.bytes.byteLength;
    header[name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
  text.copy(padded);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(padded.length));
  await writeAside(path, [prefix, padded, ...sorted.map(([, tensor]) => tensor.bytes)]);
}

function compareNames(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** Writes a text file whole or not at all. */
export async function writeTextAside(path: string, text: string): Promise<void> {
  await writeAside(path, [Buffer.from(text)]);
}

async function writeAside(path: string, parts: readonly Uint8Array[]): Promise<void> {
  const aside = `${path}.partial-${process.pid}`;
  try {
    const file = await open(aside, 'w');
    try {
      for (const part of parts) await file.writeFile(part);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, path);
    await syncDirectory(dirname(path));
  } catch (cause) {
    await rm(aside, { force: true });
    throw new BoundaryError('engine', `Cannot write ${path}`, { cause });
  }
}

/** A rename survives a power cut only once its folder is on disk too. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Product of the sizes; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A float array as float32; the bits of F32 are kept. */
export function toFloat32(stored: StoredTensor): Float32Array {
  const { bytes, dtype } = stored;
  const length = bytes.byteLength / elementBytes[dtype];
  if (dtype === 'F32') return new Float32Array(alignedBuffer(bytes));
  if (dtype === 'BF16') return widenBfloat16(new Uint16Array(alignedBuffer(bytes)), length);
  if (dtype === 'F16') return widenFloat16(new Uint16Array(alignedBuffer(bytes)), length);
  throw new BoundaryError('engine', `Expected an array of floats, got ${dtype}`);
}

/** Wraps float32 values, without a copy. */
export function storeFloat32(values: Float32Array, shape: readonly number[]): StoredTensor {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: 'F32', shape, bytes };
}

function alignedBuffer(bytes: Uint8Array): ArrayBuffer {
  return bytes.buffer instanceof ArrayBuffer &&
    bytes.byteOffset === 0 &&
    bytes.byteLength === bytes.buffer.byteLength
    ? bytes.buffer
    : new Uint8Array(bytes).buffer;
}

/** bfloat16 is the upper half of float32. */
function widenBfloat16(halves: Uint16Array, length: number): Float32Array {
  const bits = new Uint32Array(length);
  for (let index = 0; index < length; index++) bits[index] = (halves[index] ?? 0) << 16;
  return new Float32Array(bits.buffer);
}

function widenFloat16(halves: Uint16Array, length: number): Float32Array {
  const values = new Float32Array(length);
  for (let index = 0; index < length; index++) {
    const half = halves[index] ?? 0;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) values[index] = sign * fraction * 2 ** -24;
    else if (exponent === 0x1f) values[index] = fraction === 0 ? sign * Infinity : Number.NaN;
    else values[index] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return values;
}
