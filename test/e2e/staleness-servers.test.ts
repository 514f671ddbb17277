import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import type { Action } from '../../src/types/trajectory.ts';
import { actionPart, datumOf } from '../../src/update/assemble-data.ts';
import { countRows, endWhen, factsOf, killAtEach } from '../support/killed-training.ts';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';
import { startServerProcess } from '../support/tinker-server/server-process.ts';
import { startTinkerServer } from '../support/tinker-server/tinker-server.ts';
import { startVllmServer } from '../support/vllm-server.ts';

const index = fileURLToPath(new URL('../../src/index.ts', import.meta.url));
const steps = ['1', '2', '3', '4', '5'];

/** Two agents of a model of random weights, judged by their tokens; steps so large that ratios reach the limit. */
const config = `
import { defineRun, defineTeam } from ${JSON.stringify(index)};
const agent = { role: 'Member', maxTokens: 4 };
const tasks = Array.from({ length: 8 }, (_, id) => ({ id: String(id), prompt: 'Add ' + id }));
export default defineRun({
  name: 'stale',
  model: { path: './model', threads: 1 },
  tasks: { train: tasks },
  team: defineTeam({
    name: 'two',
    agents: { writer: agent, editor: agent },
    async play({ prompt }, { writer, editor }) {
      const draft = await writer.act(prompt);
      return (await editor.act(prompt + draft.text)).text;
    },
  }),
  coach: ({ action }) => action.tokens.reduce((sum, token) => sum + token, 0) % 11,
  adapter: { rank: 2, alpha: 4 },
  update: { learningRate: 0.3, maxGradNorm: false, beta2: 0.999, behaviourRatioLimit: 1.02 },
  rollout: { tasksPerStep: 4, samplesPerTask: 2, maxStalenessSteps: 2 },
  training: { steps: ${steps.length}, keepCheckpoints: 9 },
});
`;

let folder: string;
const closers: (() => Promise<void>)[] = [];
let here: ReturnType<typeof readRun>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-stale-'));
  await makeRandomModel(join(folder, 'model'));
  await writeFile(join(folder, 'stale.config.ts'), config);
  here = await trainTo('here');
}, 240_000);
afterAll(async () => {
  for (const close of closers) await close();
  await rm(folder, { recursive: true, force: true });
});

const argsFor = (name: string, sets: readonly string[]) => [
  ...['train', join(folder, 'stale.config.ts'), '--output', join(folder, name)],
  ...sets.flatMap((set) => ['--set', set]),
];

async function trainTo(name: string, sets: readonly string[] = []) {
  const { code, stderr } = await runCli(argsFor(name, sets));
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return readRun(name);
}

function readRun(name: string) {
  const directory = join(folder, name);
  const run = openRun(directory, { mode: 'read' });
  const played: readonly (readonly Action[])[] = steps.map((step) => run.actionsOf(step));
  run.close();
  const facts = factsOf(directory);
  return { facts, played, metrics: facts.metrics.map(({ values }) => new Map(values)) };
}

/** The versions of the writer's policy that played each step. */
function versionsOf(played: readonly (readonly Action[])[]) {
  return played.map((actions) => [
    ...new Set(actions.flatMap(({ agent, policy }) => (agent === 'writer' ? policy.version : []))),
  ]);
}

/** The same run, killed while plays of steps to come are under way, before a step is completed and after. */
async function trainKilled(name: string, sets: readonly string[]) {
  const directory = join(folder, name);
  const count = (table: string, where: string) => countRows(directory, table, where);
  const { code, stderr } = await killAtEach(argsFor(name, sets), [
    () => count('actions', "scope = '2'") > 3,
    () => count('steps', 'step = 2') > 0 && count('actions', "scope = '5'") > 3,
  ]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return readRun(name);
}

function expectAsHere({ played, metrics }: ReturnType<typeof readRun>): void {
  const texts = (actions: readonly Action[]) => actions.map(({ id, text }) => `${id}: ${text}`);
  expect(played.map(texts)).toEqual(here.played.map(texts));
  expect(versionsOf(played)).toEqual(versionsOf(here.played));
  for (const [step, own] of here.metrics.entries()) {
    for (const name of [
      'staleness',
      'loss/writer',
      'behaviour-kl/editor',
      'truncated-ratios/editor',
    ]) {
      const there = metrics[step]?.get(name);
      expect(there, `${name} of step ${step + 1}`).toBeCloseTo(own.get(name) ?? Number.NaN, 4);
    }
  }
}

test('two steps ahead, every action names the version that sampled it, and ratios measure from its own log-probabilities', async () => {
  const { played, metrics } = here;
  expect(metrics.map((step) => step.get('staleness'))).toEqual([0, 1, 2, 2, 2]);
  expect(versionsOf(played)).toEqual([[0], [0], [0], [1], [2]]);
  const limit = 1.02;
  const service = await createLocalTrainingService({ modelDirectory: join(folder, 'model') });
  const directory = join(folder, 'here/checkpoints/step-000004/editor');
  const from = { directory, optimizer: false };
  const policy = await service.createPolicy({ id: 'editor', seed: 1, rank: 'stored', from });
  const own = (played[4] ?? []).filter(({ agent }) => agent === 'editor');
  const { logprobs } = await policy.forward(own.map(datumOf)).result;
  const logRatios = own.flatMap((action, row) => {
    const now = actionPart(action, logprobs[row] as Float32Array);
    return [...action.logprobs].map((sampled, token) => (now[token] as number) - sampled);
  });
  await service.close();
  const mean = (values: readonly number[]) =>
    values.reduce((sum, one) => sum + one, 0) / values.length;
  const held = mean(logRatios.map((each) => (Math.exp(each) > limit ? 1 : 0)));
  expect(held).toBeGreaterThan(0);
  expect(metrics[4]?.get('truncated-ratios/editor')).toBeCloseTo(held, 6);
  expect(metrics[4]?.get('behaviour-kl/editor')).toBeCloseTo(-mean(logRatios), 6);
});

test('through a training server plays ahead are those in process; killed and resumed, the run ends with the same numbers', async () => {
  const engine = { modelDirectory: join(folder, 'model'), threads: 1 };
  const server = await startTinkerServer({ kind: 'tuft', engine, directory: join(folder, 'tuft') });
  closers.push(server.close);
  const service = { kind: 'tinker', url: server.url, server: 'tuft', baseModel: 'tiny' };
  const sets = [`service=${JSON.stringify(service)}`];
  const whole = await trainTo('tuft-whole', sets);
  expectAsHere(whole);
  const killed = await trainKilled('tuft-killed', sets);
  expect(killed.facts).toEqual(whole.facts);
  expect(versionsOf(killed.played)).toEqual(versionsOf(whole.played));
}, 240_000);

test('a server that is killed amid plays and amid an update, and started again, changes nothing in what the run comes to', async () => {
  const place = { modelDirectory: join(folder, 'model'), directory: join(folder, 'killed-server') };
  const server = await startServerProcess('tuft', place);
  closers.push(async () => server.close());
  const service = { kind: 'tinker', url: server.url, server: 'tuft', baseModel: 'tiny' };
  const running = runCli(argsFor('server-killed', [`service=${JSON.stringify(service)}`]));
  await server.killAt('/asample', 30);
  await server.killAt('/optim_step', 4);
  const { code, stdout, stderr } = await running;
  expect(code, stderr).toBe(0);
  expect(stdout.match(/going on from the last checkpoint/g)?.length, stdout).toBe(2);
  expect(readRun('server-killed').facts).toEqual(readRun('tuft-whole').facts);
}, 240_000);

test('with vLLM as sampler plays ahead are those in process, whether the run is killed or the server loses its adapters', async () => {
  const engine = { modelDirectory: join(folder, 'model'), threads: 1 };
  const server = await startVllmServer(engine, { baseModel: 'tiny', losesAfter: 50 });
  closers.push(server.close);
  const directory = join(folder, 'adapters');
  const sampler = { kind: 'vllm', url: server.url, baseModel: 'tiny', directory };
  const sets = [`sampler=${JSON.stringify(sampler)}`];
  const killed = await trainKilled('vllm', sets);
  // The trainer is the same, and what it exports is what is sampled: no bit differs.
  expect(killed.facts).toEqual(here.facts);
  expect(versionsOf(killed.played)).toEqual(versionsOf(here.played));
}, 240_000);

/** Ends the run as Ctrl-C does, while plays of steps to come are under way. @returns what it said last */
async function interrupt(name: string, sets: readonly string[]) {
  const amidPlays = () => countRows(join(folder, name), 'actions', "scope = '2'") > 3;
  const { code, stderr } = await endWhen(argsFor(name, sets), amidPlays, 'SIGINT');
  expect(code, stderr).toBe(130);
  return stderr;
}

test('a run that Ctrl-C ends gives its places on a training server back, and is gone on with at once', async () => {
  const engine = { modelDirectory: join(folder, 'model'), threads: 1 };
  // Two agents, as they are and as an earlier step left them, and the reference.
  const place = { directory: join(folder, 'full'), places: 5 };
  const server = await startTinkerServer({ kind: 'tuft', engine, ...place });
  closers.push(server.close);
  const service = { kind: 'tinker', url: server.url, server: 'tuft', baseModel: 'tiny' };
  const sets = [`service=${JSON.stringify(service)}`];
  expect(await interrupt('tuft-interrupted', sets)).toMatch(
    /giving back what the server holds.*\n\nteamtune: interrupted; what was finished is in .* goes on\n$/,
  );
  const resumed = await runCli([...argsFor('tuft-interrupted', sets), '--resume']);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(resumed.stdout).not.toMatch(/waiting up to/);
  expect(readRun('tuft-interrupted').facts).toEqual(readRun('tuft-whole').facts);
}, 240_000);

test('a run that Ctrl-C ends unloads its adapters from vLLM', async () => {
  const engine = { modelDirectory: join(folder, 'model'), threads: 1 };
  const server = await startVllmServer(engine, { baseModel: 'tiny' });
  closers.push(server.close);
  const directory = join(folder, 'adapters-interrupted');
  const sampler = { kind: 'vllm', url: server.url, baseModel: 'tiny', directory };
  await interrupt('vllm-interrupted', [`sampler=${JSON.stringify(sampler)}`]);
  expect(server.adapters()).toEqual([]);
  expect(await readdir(directory)).toEqual([]);
}, 240_000);
