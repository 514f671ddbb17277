import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { summarize } from '../bench/support/summarize.ts';

/** A bench as its npm script starts it; one that does not end by itself has begun to measure. */
function bench(name: string, ...flags: readonly string[]) {
  const file = fileURLToPath(new URL(`../bench/${name}.ts`, import.meta.url));
  const args = ['--disable-warning=ExperimentalWarning', file, ...flags];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

test('a bench says what it takes, and names what it does not know in one sentence', () => {
  const usage = bench('mappa', '--help');
  expect(usage.status).toBe(0);
  expect(usage.stdout).toMatch(
    /^usage: npm run bench:mappa -- \[options\]\n {2}--seeds VALUE .*default: 5/,
  );
  const arm = bench('mappa', '--only', 'coach,coahc');
  expect(arm).toMatchObject({ status: 2, stdout: '' });
  expect(arm.stderr).toBe(
    'bench:mappa: --only: there is no "coahc"; there are outcome, coach, coach-flipped, coach-biased; --help lists the options\n',
  );
  const flag = bench('hostile', '--jsno');
  expect(flag).toMatchObject({ status: 2, stdout: '' });
  expect(flag.stderr).toBe("bench:hostile: Unknown option '--jsno'; --help lists the options\n");
  expect(bench('mappa', '--seeds', '0').stderr).toMatch(/whole number from 1 on, got "0"/);
  expect(bench('mappa', '--bases', '3').stderr).toMatch(/whole number from 1 to 2, got "3"/);
  expect(bench('server-steps', '--server', 'skyrl-megatron').stderr).toBe(
    'bench:server-steps: --server: expected skyrl-jax, tinker, tuft, got "skyrl-megatron"; --help lists the options\n',
  );
  expect(bench('server-curve', '--only', 'her').stderr).toMatch(/no "her"; there are here, there;/);
}, 240_000);

test('the interval of a mean is Student’s t, for many runs as for few', () => {
  // 0 and 1 in turns: the deviation of n of them is √(n/(4(n − 1))), so half the interval t/(2√(n − 1)).
  const half = (count: number) => {
    const { mean, high } = summarize(Array.from({ length: count }, (_, at) => at % 2));
    return (high - mean) * 2 * Math.sqrt(count - 1);
  };
  expect(half(2)).toBeCloseTo(12.706, 3);
  expect(half(10)).toBeCloseTo(2.262, 3);
  expect(half(12)).toBeCloseTo(2.201, 3);
  expect(half(20)).toBeCloseTo(2.093, 3);
  expect(half(122)).toBeCloseTo(1.98, 2);
  expect(summarize([3])).toEqual({ mean: 3, low: 3, high: 3 });
});
