import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

type Rows = readonly { readonly tokens: readonly number[]; readonly logprobs: readonly number[] }[];

/** What a program of `support` prints with the kernels of a processor; those it cannot run give way to lesser ones. */
function printedBy(program: string, kernels: string, ...args: readonly string[]): string {
  const path = fileURLToPath(new URL(`support/${program}.ts`, import.meta.url));
  const env = { ...process.env, TEAMTUNE_KERNELS: kernels };
  return execFileSync(process.execPath, [path, ...args], { env, encoding: 'utf8' });
}

function generatedBy(kernels: string, ...args: readonly string[]): Rows {
  return JSON.parse(printedBy('generate-greedily', kernels, ...args));
}

/** Log-probabilities, entropies and gradients by name. */
function differentiatedBy(
  kernels: string,
  ...args: readonly string[]
): ReadonlyMap<string, number[]> {
  return new Map(Object.entries(JSON.parse(printedBy('gradients-of-a-pass', kernels, ...args))));
}

const processors = ['portable', 'avx2', 'avx512'];

// What a row leaves over when whole vectors are full: nothing; half a one in every size; all of a head, which is half a one.
describe.each([
  ['whole vectors', { hiddenSize: 32, intermediateSize: 48, headDim: 16 }],
  ['half a vector at the end', { hiddenSize: 40, intermediateSize: 56, headDim: 24 }],
  ['heads of half a vector', { hiddenSize: 24, intermediateSize: 40, headDim: 8 }],
])('with %s the kernels of every kind of processor', (_, changes) => {
  const sizes = JSON.stringify(changes);

  test('generate what libtorch composes, up to rounding', () => {
    const composed = generatedBy('portable', sizes, 'composed');
    expect(composed.map(({ tokens }) => tokens.length)).toEqual([20, 20, 20, 20, 20]);
    for (const kernels of processors) {
      const rows = generatedBy(kernels, sizes);
      expect(rows.map(({ tokens }) => tokens)).toEqual(composed.map(({ tokens }) => tokens));
      const gaps = rows.flatMap(({ logprobs }, row) =>
        logprobs.map((value, at) => Math.abs(value - (composed[row]?.logprobs[at] ?? 0))),
      );
      expect(Math.max(...gaps)).toBeLessThan(1e-5);
    }
  });

  test('differentiate as libtorch does, up to rounding', () => {
    const composed = differentiatedBy('portable', sizes, 'composed');
    for (const kernels of processors) {
      const found = differentiatedBy(kernels, sizes);
      expect([...found.keys()]).toEqual([...composed.keys()]);
      for (const [name, numbers] of found) {
        const wanted = composed.get(name) ?? [];
        const size = Math.max(...wanted.map(Math.abs));
        expect(size, name).toBeGreaterThan(0);
        const gap = Math.max(...numbers.map((value, at) => Math.abs(value - (wanted[at] ?? 0))));
        expect(gap / size, `${name} by ${kernels}`).toBeLessThan(1e-5);
      }
    }
  });
});
