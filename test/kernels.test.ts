import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const program = fileURLToPath(new URL('support/generate-greedily.ts', import.meta.url));
type Rows = readonly { readonly tokens: readonly number[]; readonly logprobs: readonly number[] }[];

/** What the kernels of a processor generate; those that this one cannot run give way to lesser ones. */
function generatedBy(kernels: string): Rows {
  const env = { ...process.env, TEAMTUNE_KERNELS: kernels };
  return JSON.parse(execFileSync(process.execPath, [program], { env, encoding: 'utf8' }));
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
