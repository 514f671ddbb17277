/**
 * Steps of MAPPA on a training server, and the same steps in process, number by number:
 * `npm run bench:server-steps -- --url http://127.0.0.1:8000 --server skyrl-jax --base-model NAME --model FOLDER --json`
 *
 * Three agents play on the server and learn from a coach that is a function of the tokens. The engine of this process then
 * takes the same steps, from the adapters that the server began with, on the plays and verdicts that were recorded. Printed
 * are loss, KL to the base and gradient norm of every step and agent on both sides, and the largest difference between the
 * log-probabilities that the server recorded as it sampled and those of this engine before the step; then after the last.
 * FOLDER holds the model that the server serves as NAME, with its weights. Without `--url` the server is that of the tests, over
 * a model of random weights.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tinker } from '../src/config/service-schema.ts';
import { mappaStep } from '../src/methods/mappa.ts';
import type { Training } from '../src/methods/training.ts';
import { agentNames, defineTeam } from '../src/rollout/team.ts';
import { createLocalTrainingService } from '../src/service/local/local-training-service.ts';
import { profiles, type ServerKind } from '../src/service/tinker/profile.ts';
import type { Metrics } from '../src/types/metrics.ts';
import type { Policy } from '../src/types/training-service.ts';
import { datumOf } from '../src/update/assemble-data.ts';
import { wire } from '../src/wiring.ts';
import { makeRandomModel } from '../test/support/make-random-model.ts';
import { startTinkerServer } from '../test/support/tinker-server/tinker-server.ts';
import { benchConfig, unwatched } from './support/arms.ts';
import { readCount, readFlags, refuse } from './support/read-flags.ts';

const values = readFlags('server-steps', {
  url: { type: 'string', help: 'of a running server; absent = that of the tests' },
  server: { type: 'string', default: 'skyrl-jax', help: 'skyrl-jax, tinker or tuft' },
  'base-model': { type: 'string', help: 'name of the base on the server' },
  model: { type: 'string', help: 'folder with the same base' },
  rank: { type: 'string', default: '8', help: 'of the adapters' },
  steps: { type: 'string', default: '3', help: 'training steps' },
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});
const kind = kindOf(values.server);
const [rank, steps] = (['rank', 'steps'] as const).map((name) =>
  readCount('server-steps', { [name]: values[name] }),
) as [number, number];

/** Only servers that give their adapters away, without which this process has nothing to begin from. */
function kindOf(name: string | boolean | undefined): ServerKind {
  const kinds = (Object.keys(profiles) as ServerKind[]).filter(
    (each) => profiles[each].hasAdapterFiles,
  );
  const found = kinds.find((each) => each === name);
  return found ?? refuse('server-steps', `--server: expected ${kinds.join(', ')}, got "${name}"`);
}

const member = { role: 'Member', maxTokens: 8 };
const team = defineTeam({
  name: 'three',
  agents: { a: member, b: member, c: member },
  async play({ prompt }, { a, b, c }) {
    await a.act(prompt);
    await b.act(prompt);
    return (await c.act(prompt)).text;
  },
});

type Place = { readonly url: string; readonly baseModel: string; readonly model: string };

function configOf({ url, baseModel, model }: Place) {
  return benchConfig({
    ...{ name: 'bench-server-steps', seed: 7, team },
    model: { path: model, threads: 1 },
    adapter: { rank, alpha: profiles[kind].alpha(rank) },
    service: tinker({ url, server: kind, baseModel }),
    tasks: { train: ['0', '1'].map((id) => ({ id, prompt: `Add ${id}`, answer: '1' })) },
    coach: ({ action }) => action.tokens.reduce((sum, token) => sum + token, 0) % 11,
    rollout: { tasksPerStep: 2, samplesPerTask: 4 },
    credit: { klCoefficient: 0.01 },
    update: {
      ...{ learningRate: 3e-3, weightDecay: 0, maxGradNorm: false, klCoefficient: 0.1 },
      // What the two sides differ by is what is measured.
      logprobGapLimit: 1,
    },
    training: { steps },
  });
}

/** What is compared of a step. */
const compared = ['loss', 'kl', 'grad-norm'] as const;

async function compare(place: Place, directory: string) {
  const wired = await wire(configOf(place), {
    ...{ directory: join(directory, 'run'), resume: false, watch: unwatched },
  });
  const here = await createLocalTrainingService({ modelDirectory: place.model, threads: 1 });
  try {
    const there = wired.training;
    const policies = await sameStart(there, here, join(directory, 'adapters'));
    const reference = await here.createPolicy({ id: 'reference', seed: 1, rank: 1 });
    const onServer = await takeSteps(there);
    // Finished plays and verdicts are recorded, and not asked for again.
    const inProcess = await takeSteps({ ...there, service: here, policies, reference });
    return { onServer, inProcess, after: await gapsAfter(there, policies) };
  } finally {
    await here.close();
    await wired.close();
  }
}

/** Every agent's policy in this process, with the adapter that the server drew for it. */
async function sameStart(
  { policies }: Training,
  here: Awaited<ReturnType<typeof createLocalTrainingService>>,
  directory: string,
): Promise<ReadonlyMap<string, Policy>> {
  const own = new Map<string, Policy>();
  for (const [id, policy] of policies) {
    const folder = join(directory, id);
    await policy.exportAdapter(folder);
    const from = { directory: folder, optimizer: false };
    own.set(id, await here.createPolicy({ id, seed: 1, rank, from }));
  }
  return own;
}

async function takeSteps(training: Training): Promise<readonly Metrics[]> {
  const metrics: Metrics[] = [];
  for (let step = 1; step <= steps; step++) metrics.push(await mappaStep(training, step));
  return metrics;
}

/** The largest difference between the sides' log-probabilities of each agent's actions of the first step. */
async function gapsAfter(there: Training, own: ReadonlyMap<string, Policy>) {
  const gaps: Record<string, number> = {};
  for (const [agent, policy] of own) {
    const data = there.run.actionsOf('1').filter((action) => action.agent === agent);
    const [theirs, ours] = await Promise.all(
      [there.policies.get(agent), policy].map(async (side) => {
        const { logprobs = [] } = (await side?.forward(data.map(datumOf)).result) ?? {};
        return logprobs.flatMap((row) => [...row]);
      }),
    );
    const differences = (ours ?? []).map((value, at) => Math.abs(value - (theirs?.[at] ?? 0)));
    gaps[agent] = Math.max(...differences.filter((difference) => !Number.isNaN(difference)));
  }
  return gaps;
}

function report({ onServer, inProcess, after }: Awaited<ReturnType<typeof compare>>): void {
  const rows = onServer.flatMap((theirs, index) =>
    agentNames(team).map((agent) => {
      const [there, here] = [theirs, inProcess[index] ?? {}].map((metrics) =>
        Object.fromEntries(compared.map((name) => [name, metrics[`${name}/${agent}`] ?? null])),
      );
      const gap = inProcess[index]?.[`logprob-gap/${agent}`];
      return { step: index + 1, agent, there, here, gap };
    }),
  );
  for (const { step, agent, there, here, gap } of rows) {
    const pairs = compared.map(
      (name) => `${name} ${short(there?.[name])} | ${short(here?.[name])}`,
    );
    console.log(
      `step ${step}, ${agent}, server | here: ${pairs.join(', ')}; log-probabilities before it differ by ${short(gap)}`,
    );
  }
  for (const [agent, gap] of Object.entries(after)) {
    console.log(`after step ${steps}, ${agent}: log-probabilities differ by at most ${short(gap)}`);
  }
  if (values.json) console.log(JSON.stringify({ server: kind, steps: rows, after }));
}

function short(value: number | null | undefined): string {
  return value?.toPrecision(8) ?? 'absent';
}

/** The server that the flags name, or one of the tests. */
async function withServer(directory: string, use: (place: Place) => Promise<void>): Promise<void> {
  const { url, model, 'base-model': baseModel } = values;
  if (typeof url === 'string') {
    if (typeof model === 'string' && typeof baseModel === 'string') {
      return use({ url, model, baseModel });
    }
    refuse('server-steps', '--url: expected --base-model and --model with it');
  }
  const own = join(directory, 'model');
  await makeRandomModel(own);
  const server = await startTinkerServer({
    ...{ kind, engine: { modelDirectory: own, threads: 1 }, directory: join(directory, 'server') },
  });
  try {
    await use({ url: server.url, baseModel: 'tiny', model: own });
  } finally {
    await server.close();
  }
}

const directory = await mkdtemp(join(tmpdir(), 'teamtune-server-steps-'));
try {
  await withServer(directory, async (place) => report(await compare(place, directory)));
} finally {
  await rm(directory, { recursive: true, force: true });
}
