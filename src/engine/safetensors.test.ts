import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  openSafetensors,
  readStoredTensor,
  type StoredTensor,
  storeFloat32,
  toFloat32,
  writeSafetensors,
} from './safetensors.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'teamtune-safetensors-'));
  path = join(directory, 'x.safetensors');
});

afterEach(() => rm(directory, { recursive: true }));

/** A file with a header of one's own, to damage it in known ways. */
async function writeRaw(header: unknown, dataBytes: number): Promise<void> {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  await writeFile(path, Buffer.concat([prefix, text, Buffer.alloc(dataBytes)]));
}

function halves(dtype: 'F16' | 'BF16', ...bits: number[]): StoredTensor {
  return { dtype, shape: [bits.length], bytes: new Uint8Array(new Uint16Array(bits).buffer) };
}

describe('safetensors', () => {
  it('gives back every array with its dtype, shape and bits', async () => {
    const weights = Float32Array.of(1.5, -0, Number.POSITIVE_INFINITY, 3e-41, 0, 7);
    const steps: StoredTensor = {
      dtype: 'I64',
      shape: [],
      bytes: new Uint8Array(BigInt64Array.of(-3n).buffer),
    };
    const tensors = new Map([
      ['b.weight', storeFloat32(weights, [2, 3])],
      ['a.half', halves('BF16', 0x3fc0)],
      ['step', steps],
      ['empty', storeFloat32(new Float32Array(0), [0, 4])],
    ]);
    await writeSafetensors(path, tensors, { purpose: 'test' });
    const file = await openSafetensors(path);
    expect(file.metadata).toEqual({ format: 'pt', purpose: 'test' });
    expect([...file.entries.keys()].sort()).toEqual(['a.half', 'b.weight', 'empty', 'step']);
    for (const [name, tensor] of tensors) {
      expect(await readStoredTensor(file, name)).toEqual(tensor);
    }
    expect(toFloat32(await readStoredTensor(file, 'b.weight'))).toEqual(weights);
  });

  it('writes equal bytes whatever the order of the arrays, and leaves no aside file', async () => {
    const one = storeFloat32(Float32Array.of(1), [1]);
    const two = storeFloat32(Float32Array.of(2), [1]);
    await writeSafetensors(path, new Map(Object.entries({ one, two })));
    const first = await readFile(path);
    await writeSafetensors(path, new Map(Object.entries({ two, one })));
    expect(await readFile(path)).toEqual(first);
    expect(await readdir(directory)).toEqual(['x.safetensors']);
  });

  it('widens half precision by hand-computed values', () => {
    expect(toFloat32(halves('BF16', 0x3fc0, 0xc000, 0x0000))).toEqual(Float32Array.of(1.5, -2, 0));
    expect(toFloat32(halves('F16', 0x3e00, 0xc000, 0x0001, 0x7c00))).toEqual(
      Float32Array.of(1.5, -2, 2 ** -24, Number.POSITIVE_INFINITY),
    );
  });

  it('refuses a file that was cut short', async () => {
    await writeSafetensors(path, new Map([['a', storeFloat32(new Float32Array(8), [8])]]));
    const whole = await readFile(path);
    await writeFile(path, whole.subarray(0, whole.length - 4));
    await expect(openSafetensors(path)).rejects.toThrow(/cut short or damaged/);
    await writeFile(path, whole.subarray(0, 20));
    await expect(openSafetensors(path)).rejects.toThrow(/cut short or not safetensors/);
    await writeFile(path, whole.subarray(0, 3));
    await expect(openSafetensors(path)).rejects.toThrow(/has 3 bytes/);
  });

  it('refuses arrays that overlap or leave a hole', async () => {
    const entry = (begin: number, end: number) => ({
      dtype: 'F32',
      shape: [(end - begin) / 4],
      data_offsets: [begin, end],
    });
    await writeRaw({ a: entry(0, 8), b: entry(4, 12) }, 12);
    await expect(openSafetensors(path)).rejects.toThrow(/b overlaps the array before it/);
    await writeRaw({ a: entry(0, 8), b: entry(12, 16) }, 16);
    await expect(openSafetensors(path)).rejects.toThrow(/b leaves a hole/);
  });

  it('refuses an unknown dtype, a wrong size and a header that is not JSON', async () => {
    await writeRaw({ a: { dtype: 'F8_E4M3', shape: [4], data_offsets: [0, 4] } }, 4);
    await expect(openSafetensors(path)).rejects.toThrow(/a: dtype F8_E4M3 is not supported/);
    await writeRaw({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 4] } }, 4);
    await expect(openSafetensors(path)).rejects.toThrow(/needs 8 bytes, its offsets span 4/);
    await writeRaw('{"a": ', 0);
    await expect(openSafetensors(path)).rejects.toThrow(/header is not a JSON object/);
  });

  it('names the file and the array that is not there', async () => {
    await expect(openSafetensors(path)).rejects.toThrow(/Cannot open .*x\.safetensors/);
    await writeSafetensors(path, new Map());
    const file = await openSafetensors(path);
    await expect(readStoredTensor(file, 'gone')).rejects.toThrow(/no array named gone/);
  });
});
