import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors, readStoredTensor, toFloat32 } from '../../src/engine/safetensors.ts';
import type { Adam, Datum } from '../../src/types/training-service.ts';

/** What `make_fixtures.py` wrote beside each model. */
export type Expected = {
  readonly rows: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
  readonly logprobs: readonly (readonly number[])[];
  readonly leftPaddedLogprobs: readonly (readonly number[])[];
  readonly greedy: readonly (readonly number[])[];
  readonly fullLoss: number;
  readonly bfloat16Logprobs: readonly (readonly number[])[];
  readonly float16Logprobs: readonly (readonly number[])[];
  readonly adapterLogprobs: readonly (readonly number[])[];
  readonly adapterGreedy: readonly (readonly number[])[];
  readonly trainedLogprobs: readonly (readonly number[])[];
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  readonly adam: Adam;
};

export const fixtureNames = ['qwen3', 'qwen2', 'llama', 'llama2', 'mistral'] as const;

export function fixtureDirectory(name: string): string {
  return fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
}

export function readExpected(name: string): Expected {
  return JSON.parse(readFileSync(join(fixtureDirectory(name), 'expected.json'), 'utf8'));
}

/** The arrays of `expected.safetensors` whose names start with `prefix`, without it. */
export async function readArrays(
  name: string,
  prefix: string,
): Promise<ReadonlyMap<string, Float32Array>> {
  const file = await openSafetensors(join(fixtureDirectory(name), 'expected.safetensors'));
  const arrays = new Map<string, Float32Array>();
  for (const entry of file.entries.keys()) {
    if (!entry.startsWith(prefix)) continue;
    arrays.set(entry.slice(prefix.length), toFloat32(await readStoredTensor(file, entry)));
  }
  return arrays;
}

/** The fixture's rows as supervised data. */
export function dataOf({ rows, weights }: Expected): readonly Datum[] {
  return rows.map((row, index) => ({
    input: Int32Array.from(row.slice(0, -1)),
    target: Int32Array.from(row.slice(1)),
    weights: Float32Array.from(weights[index] ?? []),
  }));
}

/** Modules that the engine stores as one matrix. */
const joined: Readonly<Record<string, readonly string[]>> = {
  'qkv.weight': ['self_attn.q_proj.weight', 'self_attn.k_proj.weight', 'self_attn.v_proj.weight'],
  'qkv.bias': ['self_attn.q_proj.bias', 'self_attn.k_proj.bias', 'self_attn.v_proj.bias'],
  'output.weight': ['self_attn.o_proj.weight'],
  'gateUp.weight': ['mlp.gate_proj.weight', 'mlp.up_proj.weight'],
  'down.weight': ['mlp.down_proj.weight'],
  'qk_norm.weight': ['self_attn.q_norm.weight', 'self_attn.k_norm.weight'],
};

/** The names that transformers has for a parameter of `decoderParameters`. */
export function fullParts(parameter: string): readonly string[] {
  const [, layer = '', part = ''] = /^(model\.layers\.\d+\.)(.+)$/.exec(parameter) ?? [];
  return joined[part]?.map((suffix) => layer + suffix) ?? [parameter];
}

/** The largest |difference|; Infinity for different lengths, NaN for NaN. */
export function largestDifference(left: ArrayLike<number>, right: ArrayLike<number>): number {
  if (left.length !== right.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let index = 0; index < left.length; index++) {
    const difference = Math.abs((left[index] ?? Number.NaN) - (right[index] ?? Number.NaN));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** The largest |difference| in units of the largest |expected| value. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  const scale = Array.from(expected).reduce(
    (most, value) => Math.max(most, Math.abs(value)),
    1e-12,
  );
  return largestDifference(actual, expected) / scale;
}
