import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ServerKind } from '../../src/service/tinker/profile.ts';
import { factsOf } from '../support/killed-training.ts';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';
import { startTinkerServer, type TinkerServer } from '../support/tinker-server/tinker-server.ts';

const index = fileURLToPath(new URL('../../src/index.ts', import.meta.url));

/** Plays of a model of random weights, judged by their tokens so that they have values; no clip, as on servers that have none. */
const common = `
const agent = { role: 'Member', maxTokens: 4 };
const tasks = Array.from({ length: 4 }, (_, id) => ({ id: String(id), prompt: 'Add ' + id, answer: '1' }));
const run = {
  name: 'three',
  model: { path: './model', threads: 1 },
  tasks: { train: tasks, heldOut: tasks.slice(0, 2) },
  coach: ({ action }) => action.tokens.reduce((sum, token) => sum + token, 0) % 11,
  update: { learningRate: 1e-2, maxGradNorm: false, beta2: 0.999 },
};
`;
const maltRun = `
import { defineRun, defineTeam, malt } from ${JSON.stringify(index)};
${common}
export default defineRun({
  ...run,
  team: defineTeam({
    name: 'three',
    agents: { generator: agent, verifier: agent, refiner: agent },
    async play({ prompt }, { generator, verifier, refiner }) {
      const draft = await generator.act(prompt);
      const critique = await verifier.act(prompt + draft.text);
      return (await refiner.act(prompt + draft.text + critique.text)).text;
    },
  }),
  method: malt({
    ...{ judge: 'coach', branching: [2, 2, 2], select: { dropTruncated: false } },
    sft: { learningRate: 1e-2, epochs: 2, batchSize: 8 },
    dpo: { learningRate: 1e-3, epochs: 3, batchSize: 4 },
  }),
});
`;
const maporlRun = `
import { defineRun, discussionTeam } from ${JSON.stringify(index)};
${common}
export default defineRun({
  ...run,
  team: discussionTeam({ name: 'three', agents: { ann: agent, bob: agent, cy: agent }, turns: 2 }),
  method: { kind: 'maporl', verifier: 'coach', critic: false, incentives: { a0: 1, a1: 1, b0: 1, b1: 1 } },
  rollout: { tasksPerStep: 4, samplesPerTask: 2 },
  training: { steps: 2 },
});
`;

let folder: string;
const servers: TinkerServer[] = [];
const configs = { malt: maltRun, maporl: maporlRun };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-methods-'));
  await makeRandomModel(join(folder, 'model'));
  for (const [name, text] of Object.entries(configs)) {
    await writeFile(join(folder, `${name}.config.ts`), text);
  }
});
afterAll(async () => {
  for (const server of servers) await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function train(method: string, place: string, sets: readonly string[]) {
  const output = join(folder, `${method}-${place}`);
  const config = join(folder, `${method}.config.ts`);
  const overrides = sets.flatMap((set) => ['--set', set]);
  const { code, stderr } = await runCli(['train', config, '--output', output, ...overrides]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const { actions, metrics, evaluations } = factsOf(output);
  const texts = actions.map(({ id, text }) => `${id}: ${text}`);
  return { texts, evaluations, metrics: metrics.map(({ values }) => new Map(values)) };
}

/** The same run in process and through a server of the kind, with the scale that its adapters have. */
async function trainBoth(method: string, kind: ServerKind, alpha: number) {
  const engine = { modelDirectory: join(folder, 'model'), threads: 1 };
  const server = await startTinkerServer({ kind, engine, directory: join(folder, kind) });
  servers.push(server);
  const service = { kind: 'tinker', url: server.url, server: kind, baseModel: 'tiny' };
  const shape = ['adapter.rank=2', `adapter.alpha=${alpha}`];
  const own = await train(method, 'here', shape);
  const other = await train(method, kind, [...shape, `service=${JSON.stringify(service)}`]);
  return { own, other, asked: server.seen.map(({ path }) => path) };
}

/** Losses and means that both sides measured, by step. */
function expectSameMetrics(
  { own, other }: Pick<Awaited<ReturnType<typeof trainBoth>>, 'own' | 'other'>,
  names: readonly RegExp[],
): void {
  expect(other.metrics.length).toBe(own.metrics.length);
  for (const wanted of names) {
    const found = own.metrics.flatMap((step, index) =>
      [...step].flatMap(([name, value]) =>
        wanted.test(name) ? [{ name, value, there: other.metrics[index]?.get(name) }] : [],
      ),
    );
    expect(found.length, String(wanted)).toBeGreaterThan(0);
    for (const { name, value, there } of found) expect(there, name).toBeCloseTo(value, 3);
  }
}

test('MALT grows the same trees on a server and learns from them by SFT and DPO, whose loss the server does not have', async () => {
  const { own, other, asked } = await trainBoth('malt', 'skyrl-jax', 32);
  expect(other.texts).toEqual(own.texts);
  expect(other.evaluations).toEqual(own.evaluations);
  expectSameMetrics({ own, other }, [/^sft-loss/, /^dpo-loss/, /^chosen-log-ratio/]);
  expect(asked).toContain('/forward');
}, 240_000);

test('MAPoRL discusses and learns on a server as in process, without its critic', async () => {
  const { own, other } = await trainBoth('maporl', 'tuft', 4);
  expect(other.texts).toEqual(own.texts);
  expect(other.evaluations).toEqual(own.evaluations);
  expectSameMetrics({ own, other }, [/^loss/, /^kl/, /^verdict/, /^influence/]);
}, 240_000);

test('a critic is refused on a server with the key that turns it off', async () => {
  const { url } = servers.at(-1) ?? {};
  const service = { kind: 'tinker', url, server: 'tuft', baseModel: 'tiny' };
  const sets = ['method.critic={}', 'adapter.rank=2', 'adapter.alpha=4'].flatMap((set) => [
    '--set',
    set,
  ]);
  const config = join(folder, 'maporl.config.ts');
  const output = ['--output', join(folder, 'critic')];
  const { code, stderr } = await runCli([
    ...['train', config, ...output, ...sets, '--set', `service=${JSON.stringify(service)}`],
  ]);
  expect(code).toBe(3);
  expect(stderr).toContain('set method.critic=false');
}, 60_000);
