import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { openRun } from '../../src/run/run-store.ts';
import { makeBaseModel } from '../../teams/arithmetic/base-model.ts';
import { runCli, startCli } from '../support/run-cli.ts';

const config = fileURLToPath(new URL('../../teams/arithmetic/teamtune.config.ts', import.meta.url));
const cache = fileURLToPath(new URL('../../.teamtune', import.meta.url));

/** Small enough for a test, large enough that a kill lands in plays, coaching, updates and checkpoints alike. */
const small = [
  ...['--set', 'training.steps=4', '--set', 'rollout.tasksPerStep=16'],
  ...['--set', 'evaluation.every=2', '--set', 'model.threads=1'],
];
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-training-'));
  await makeBaseModel(cache, () => undefined);
}, 600_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a run came to, without what depends on the clock or on the folder. */
function factsOf(directory: string) {
  const run = openRun(directory, { mode: 'read' });
  const clock = /seconds|replayed|live-tensors|rss/;
  const metrics = run.metrics().map(({ step, metrics: values }) => ({
    step,
    values: Object.entries(values).filter(([name]) => !clock.test(name)),
  }));
  const evaluations = run.evaluations();
  const actions = ['1', '2', '3', '4'].flatMap((scope) =>
    run.actionsOf(scope).map(({ id, text, logprobs }) => ({ id, text, logprobs: [...logprobs] })),
  );
  run.close();
  return { metrics, evaluations, actions };
}

describe('a run on the arithmetic team', () => {
  let whole: string;

  beforeAll(async () => {
    whole = join(folder, 'whole');
    const { code, stderr, stdout } = await runCli(['train', config, '--output', whole, ...small]);
    expect(stderr).toBe('');
    expect(code, stdout).toBe(0);
    expect(stdout).toContain('ratio-is-one check');
  }, 300_000);

  test('records every step, both evaluations, a checkpoint of every agent and a report', async () => {
    const { metrics, evaluations, actions } = factsOf(whole);
    expect(metrics.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    expect(evaluations.map(({ name }) => name)).toEqual(['base', 'step-2', 'trained']);
    expect(evaluations.every(({ rows }) => rows.length === 200)).toBe(true);
    expect(actions.length).toBeGreaterThanOrEqual(4 * 16 * 4);
    for (const agent of ['solver', 'executor', 'verifier']) {
      const adapter = join(whole, 'checkpoints/step-000004', agent, 'adapter_model.safetensors');
      expect(existsSync(adapter)).toBe(true);
    }
    expect(await readFile(join(whole, 'report.html'), 'utf8')).toContain('</html>');
  });

  test('sampler and trainer agree on every token of the first step', () => {
    const first = new Map(factsOf(whole).metrics[0]?.values);
    for (const agent of ['solver', 'executor', 'verifier']) {
      expect(first.get(`logprob-gap/${agent}`)).toBeLessThanOrEqual(1e-4);
    }
  });

  test('killed five times at random moments and resumed, it ends with the same numbers', async () => {
    const killed = join(folder, 'killed');
    const random = createRandom(Number(process.env.TEAMTUNE_KILL_SEED ?? 1));
    const args = ['train', config, '--output', killed, ...small];
    for (let kill = 0; kill < 5; kill++) {
      const resume = existsSync(join(killed, 'run.db')) ? ['--resume'] : [];
      const { child, ended } = startCli([...args, ...resume]);
      await Promise.race([sleep(1500 + random.integer(4000)), ended]);
      child.kill('SIGKILL');
      await ended;
    }
    const resume = existsSync(join(killed, 'run.db')) ? ['--resume'] : [];
    const { code, stderr } = await runCli([...args, ...resume]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(factsOf(killed)).toEqual(factsOf(whole));
  }, 300_000);

  test('a folder that holds a run is not overwritten', async () => {
    const { code, stderr } = await runCli(['train', config, '--output', whole, ...small]);
    expect(code).toBe(2);
    expect(stderr).toContain('--resume');
  });

  test('a checkpoint can be evaluated alone, and its adapters fit the generate command', async () => {
    const checkpoint = join(whole, 'checkpoints/step-000004');
    const output = join(folder, 'evaluation');
    const args = ['evaluate', config, '--checkpoint', checkpoint, '--output', output, '--json'];
    const { code, stdout, stderr } = await runCli([...args, '--set', 'model.threads=1']);
    expect(code, stderr).toBe(0);
    const result = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
    const trained = factsOf(whole).evaluations.find(({ name }) => name === 'trained');
    const correct = trained?.rows.filter((row) => row.correct).length ?? 0;
    expect(result.tasks).toBe(200);
    // Other seeds than in the run (the scope has another name), so equal up to sampling noise only.
    expect(Math.abs(result.accuracy - correct / 200)).toBeLessThan(0.15);
  }, 120_000);

  test('an altered checkpoint is refused with the name of the file', async () => {
    const copy = join(folder, 'altered');
    await cp(join(whole, 'checkpoints/step-000004'), copy, { recursive: true });
    const file = join(copy, 'solver', 'adapter_model.safetensors');
    const bytes = await readFile(file);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    await writeFile(file, bytes);
    const output = join(folder, 'altered-evaluation');
    const args = ['evaluate', config, '--checkpoint', copy, '--output', output];
    const { code, stderr } = await runCli(args);
    expect(code).toBe(3);
    expect(stderr).toContain('adapter_model.safetensors');
  });
});
