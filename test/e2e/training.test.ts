import { existsSync, readdirSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeBaseModel } from '../../teams/arithmetic/base-model.ts';
import { countRows, factsOf, killAtEach } from '../support/killed-training.ts';
import { runCli } from '../support/run-cli.ts';

const config = fileURLToPath(new URL('../../teams/arithmetic/teamtune.config.ts', import.meta.url));
const cache = fileURLToPath(new URL('../../.teamtune', import.meta.url));

/** Small enough for a test, large enough to be killed in the midst of plays, coaching, checkpoints and evaluations. */
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

describe('a run on the arithmetic team', () => {
  let whole: string;

  beforeAll(async () => {
    whole = join(folder, 'whole');
    const { code, stderr, stdout } = await runCli(['train', config, '--output', whole, ...small]);
    expect(stderr).toBe('');
    expect(code, stdout).toBe(0);
    expect(stdout).toContain('log-probabilities of sampler and trainer, ');
  }, 300_000);

  test('records every step, both evaluations, a checkpoint of every agent and a report', async () => {
    const { metrics, evaluations, actions } = factsOf(whole);
    expect(metrics.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    expect(evaluations.map(({ name }) => name)).toEqual(['base', 'step-2', 'trained']);
    expect(evaluations.every(({ rows }) => rows.length === 200)).toBe(true);
    // The executor acts once or twice.
    expect(actions.length).toBeGreaterThanOrEqual(4 * 16 * 3);
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

  test('killed five times, in plays, coaching, a checkpoint and evaluations, and resumed, it ends with the same numbers', async () => {
    const killed = join(folder, 'killed');
    const args = ['train', config, '--output', killed, ...small];
    const count = (table: string, where: string) => countRows(killed, table, where);
    // One for each kill: how far the run must have come.
    const moments: readonly (() => boolean)[] = [
      () => count('actions', "scope = 'eval:base'") > 40,
      () => count('actions', "scope = '1'") > 20,
      () => count('feedback', "action_id LIKE '2/%'") > 10,
      // The folder aside, the renamed one, or between it and the completed step.
      () => readdirSync(join(killed, 'checkpoints')).some((name) => name.startsWith('step-000003')),
      () => count('actions', "scope = 'eval:trained'") > 40,
    ];
    const { code, stderr } = await killAtEach(args, moments);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(factsOf(killed)).toEqual(factsOf(whole));
  }, 300_000);

  test('whose newest checkpoint is damaged goes on from the one before, and ends with the same numbers', async () => {
    const damaged = join(folder, 'damaged');
    await cp(whole, damaged, { recursive: true });
    const solver = join('checkpoints', 'step-000004', 'solver');
    await truncate(join(damaged, solver, 'adapter_model.safetensors'), 100);
    const args = ['train', config, '--output', damaged, ...small, '--resume'];
    const { code, stderr, stdout } = await runCli(args);
    expect(code, stderr).toBe(0);
    expect(stdout + stderr).toContain('adapter_model.safetensors has 100 bytes');
    expect(stdout + stderr).toContain('Going on from step 3');
    expect(factsOf(damaged)).toEqual(factsOf(whole));
    const weights = join(solver, 'adapter_model.safetensors');
    expect(await readFile(join(damaged, weights))).toEqual(await readFile(join(whole, weights)));
  });

  test('is not gone on with when its tasks have changed', async () => {
    const tasks = join(folder, 'tasks.json');
    const write = (answer: string) =>
      writeFile(tasks, JSON.stringify([{ prompt: '1 + 1', answer }]));
    await write('2');
    const output = join(folder, 'other-tasks');
    const args = ['evaluate', config, '--output', output, '--set', `tasks.heldOut=${tasks}`];
    expect((await runCli(args)).code).toBe(0);
    await write('3');
    const { code, stderr } = await runCli([...args, '--resume']);
    expect(code).toBe(2);
    expect(stderr).toContain('taskHashes.heldOut was');
  }, 60_000);

  test('tasks without an answer are refused where they are to be graded', async () => {
    const tasks = join(folder, 'ungraded.json');
    await writeFile(tasks, JSON.stringify([{ prompt: '1 + 1', answer: '2' }, { prompt: '2 + 2' }]));
    const output = ['--output', join(folder, 'ungraded')];
    const heldOut = ['evaluate', config, ...output, '--set', `tasks.heldOut=${tasks}`];
    const outcome = ['train', config, ...output, '--set', `tasks.train=${tasks}`];
    for (const args of [heldOut, [...outcome, '--set', 'credit.source=outcome']]) {
      const { code, stderr } = await runCli(args);
      expect(code).toBe(2);
      expect(stderr).toContain('1 of 2 tasks have no answer to grade against');
    }
  }, 60_000);

  test('a start that fails leaves no run in the folder', async () => {
    const output = join(folder, 'failed-start');
    const args = ['train', config, '--output', output, ...small];
    const failed = await runCli([...args, '--set', 'model.device=cuda']);
    expect(failed.code).toBe(3);
    expect(existsSync(join(output, 'run.db'))).toBe(false);
  }, 60_000);

  test('can be scored and credited again when it is over', async () => {
    const again = await runCli(['rescore', whole, '--coach', config, '--as', 'again', '--json']);
    expect(again.code, again.stderr).toBe(0);
    const { agents } = JSON.parse(again.stdout);
    expect(Object.keys(agents)).toEqual(['solver', 'executor', 'verifier']);
    // The rule coach judges the same the same way.
    expect(agents.solver).toMatchObject({ meanAbsoluteDifference: { value: 0 } });
    const credit = await runCli(['rescore', whole, '--credit', 'outcome']);
    expect(credit.code, credit.stderr).toBe(0);
  }, 120_000);

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
