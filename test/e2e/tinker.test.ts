import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { generateArithmeticTasks } from '../../src/task/arithmetic.ts';
import { makeBaseModel } from '../../teams/arithmetic/base-model.ts';
import { runCli } from '../support/run-cli.ts';
import {
  startTinkerServer,
  type TinkerServer,
  type TinkerServerOptions,
} from '../support/tinker-server/tinker-server.ts';

const config = fileURLToPath(new URL('../../teams/arithmetic/teamtune.config.ts', import.meta.url));
const cache = fileURLToPath(new URL('../../.teamtune', import.meta.url));

/** The quickstart's run, smaller; the scale of adapters and the missing clip are what a TuFT server has. */
const small = [
  ...['--set', 'training.steps=2', '--set', 'rollout.tasksPerStep=8', '--set', 'adapter.alpha=16'],
  ...['--set', 'model.threads=1', '--set', 'update.maxGradNorm=false'],
];
let folder: string;
let model: string;
const servers: TinkerServer[] = [];
const common = () => [...small, '--set', `tasks.heldOut=${join(folder, 'held-out.json')}`];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-tinker-'));
  model = await makeBaseModel(cache, () => undefined);
  const heldOut = generateArithmeticTasks({ count: 8, seed: 1, split: 'held-out' });
  await writeFile(join(folder, 'held-out.json'), JSON.stringify(heldOut));
}, 600_000);
afterAll(async () => {
  for (const server of servers) await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function serve(name: string, options: Partial<TinkerServerOptions> = {}) {
  const engine = { modelDirectory: model, threads: 1 };
  const directory = join(folder, name);
  const server = await startTinkerServer({ kind: 'tuft', engine, directory, ...options });
  servers.push(server);
  return server;
}

const serviceAt = (url: string, server = 'tuft') => [
  ...['--set', `service=${JSON.stringify({ kind: 'tinker', url, server, baseModel: 'tiny' })}`],
];

/** What the run played and learned, without what depends on the clock. */
function factsOf(directory: string) {
  const run = openRun(directory, { mode: 'read' });
  const steps = run.metrics().map(({ step, metrics }) => {
    const known = ['accuracy', 'loss/solver', 'grad-norm/solver', 'score/verifier', 'kl/solver'];
    return { step, metrics: known.flatMap((name) => (name in metrics ? [metrics[name]] : [])) };
  });
  const texts = ['1', '2'].flatMap((scope) =>
    run.actionsOf(scope).map(({ id, text }) => `${id}: ${text}`),
  );
  const evaluations = run.evaluations();
  run.close();
  return { steps, texts: texts.toSorted(), evaluations };
}

test('the quickstart’s team learns the same through a training server, which is restarted in the midst of it', async () => {
  const here = join(folder, 'here');
  const inProcess = await runCli(['train', config, '--output', here, ...common()]);
  expect(inProcess.code, inProcess.stderr).toBe(0);
  const restart = { at: 5, seen: 0 };
  const server: TinkerServer = await serve('server', {
    fault: ({ path }) => {
      if (path !== '/optim_step' || ++restart.seen !== restart.at) return undefined;
      void server.restart();
      return 'reset before';
    },
  });
  const there = join(folder, 'there');
  const args = ['train', config, '--output', there, ...common(), ...serviceAt(server.url)];
  const remote = await runCli(args);
  expect(remote.code, remote.stderr + remote.stdout).toBe(0);
  expect(remote.stdout + remote.stderr).toMatch(/going on from the last checkpoint/);
  expect(restart.seen).toBeGreaterThan(restart.at);
  const [own, other] = [factsOf(here), factsOf(there)];
  expect(other.texts).toEqual(own.texts);
  expect(other.evaluations).toEqual(own.evaluations);
  expect(existsSync(join(there, 'checkpoints/step-000002/solver/tinker.json'))).toBe(true);
}, 240_000);

test('what a server would do in another way is refused before anything is played', async () => {
  const { url, seen } = await serve('refusals');
  const start = (...sets: string[]) => {
    const output = join(folder, `refused-${seen.length}`);
    return runCli(['train', config, '--output', output, ...common(), ...sets]);
  };
  const clipped = await start(...serviceAt(url), '--set', 'update.maxGradNorm=1');
  expect(clipped.stderr).toContain('set update.maxGradNorm=false');
  const unknown = await start('--set', 'service=tinker');
  expect(unknown.stderr).toContain('expected "local", or tinker({ url, server, baseModel })');
  expect([clipped.code, unknown.code]).toEqual([3, 2]);
  expect(seen.some(({ path }) => path === '/asample')).toBe(false);
}, 120_000);
