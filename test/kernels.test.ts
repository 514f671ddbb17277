import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

type Rows = readonly { readonly tokens: readonly number[]; readonly logprobs: readonly number[] }[];

/** What a program of `support` prints with the kernels of a processor; those it cannot run give way to lesser ones. */
function printedBy(program: string, kernels: string, ...args: readonly string[]): string {
  const path = fileURLToPath(new URL(`support/${program}.ts`, import.meta.url));
  const env = { ...process.env, TEAMTUNE_KERNELS: kernels };
  return execFileSync(process.execPath, [path, ...args], { env, encoding: 'utf8' });
}

function generatedBy(kernels: string): Rows {
  return JSON.parse(printedBy('generate-greedily', kernels));
}

/** Log-probabilities, entropies and gradients by name. */
function differentiatedBy(
  kernels: string,
  ...args: readonly string[]
): ReadonlyMap<string, number[]> {
  return new Map(Object.entries(JSON.parse(printedBy('gradients-of-a-pass', kernels, ...args))));
}

test('the kernels of every kind of processor generate the same, up to rounding', () => {
  const portable = generatedBy('portable');
  expect(portable.map(({ tokens }) => tokens.length)).toEqual([20, 20, 20, 20, 20]);
  for (const kernels of ['avx2', 'avx512']) {
    const rows = generatedBy(kernels);
    expect(rows.map(({ tokens }) => tokens)).toEqual(portable.map(({ tokens }) => tokens));
    const gaps = rows.flatMap(({ logprobs }, row) =>
      logprobs.map((value, at) => Math.abs(value - (portable[row]?.logprobs[at] ?? 0))),
    );
    expect(Math.max(...gaps)).toBeLessThan(1e-5);
  }
});

test('the kernels of every kind of processor differentiate as libtorch does, up to rounding', () => {
  const composed = differentiatedBy('portable', 'composed');
  for (const kernels of ['portable', 'avx2', 'avx512']) {
    const found = differentiatedBy(kernels);
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
