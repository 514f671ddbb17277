import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { playTask, type Stage } from '../../src/rollout/play-task.ts';
import { defineTeam } from '../../src/rollout/team.ts';
import { defaultLimits } from '../../src/sandbox/limits.ts';
import { openWorkspaces } from '../../src/sandbox/workspaces.ts';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { withVllmSampling } from '../../src/service/vllm/vllm-sampling.ts';
import type { Sampler } from '../../src/types/training-service.ts';
import type { Trajectory } from '../../src/types/trajectory.ts';
import { characterTokenizer } from '../support/scripted-play.ts';
import { hasty } from '../support/tinker-server/hasty.ts';
import { startServed, testEngine } from '../support/tinker-server/with-server.ts';
import { startVllmServer } from '../support/vllm-server.ts';
import { contractModel } from './contract-model.ts';
import { prompt } from './training-service-lesson.ts';

const playTimeoutMs = 1000;
/** Of an outage that lasts longer than the play may. */
const patience = { ...hasty, outageMs: 60_000 };

// Time passes where a test says so: how fast the machine is does not matter.
beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const end of ends.splice(0).reverse()) await end();
});

/** Refuses while it is closed, and tells of the second time: by then the client knows what became of the first. */
function createDoor() {
  const { promise: isNoticed, resolve: notice } = Promise.withResolvers<void>();
  const door = { isClosed: false, isNoticed, refuses: () => isRefused() };
  let refused = 0;
  const isRefused = (): boolean => {
    if (door.isClosed && ++refused === 2) notice();
    return door.isClosed;
  };
  return door;
}

async function tinkerSampler(path: string) {
  const door = createDoor();
  const fault = (seen: { readonly path: string }) =>
    seen.path === path && door.refuses() ? ('503 after' as const) : undefined;
  const { service, close } = await startServed('tuft', { fault }, { patience });
  ends.push(close);
  return { door, sampler: await service.baseSampler() };
}

async function vllmSampler() {
  const door = createDoor();
  const { vocabSize, maxPositions } = contractModel;
  const directory = await mkdtemp(join(tmpdir(), 'teamtune-outage-'));
  ends.push(() => rm(directory, { recursive: true }));
  const server = await startVllmServer(testEngine, { baseModel: 'tiny', isAway: door.refuses });
  ends.push(server.close);
  const service = await withVllmSampling(await createLocalTrainingService(testEngine), {
    ...{ url: server.url, baseModel: 'tiny', directory, patience },
    limits: { vocabSize, maxPositions },
  });
  ends.push(service.close);
  return { door, sampler: await service.baseSampler() };
}

const team = defineTeam({
  name: 'talkers',
  agents: { first: { role: 'First', maxTokens: 8 }, second: { role: 'Second', maxTokens: 8 } },
  play: async (task, { first, second }) =>
    (await second.act((await first.act(task.prompt)).text)).text,
});

function play(sampler: Sampler): Promise<Trajectory> {
  const workspaces = openWorkspaces(join(tmpdir(), 'teamtune-no-files'), defaultLimits);
  const tokenizer = { ...characterTokenizer, encodeChat: () => prompt };
  const samplers = new Map(['first', 'second'].map((agent) => [agent, sampler]));
  const stage: Stage = {
    ...{ team, tokenizer, samplers, workspaces, playTimeoutMs, seed: 1, scope: '1' },
    ...{ temperature: 1, maxActionTokens: 8, maxActions: 4 },
    ...{ finished: new Map(), tools: new Map(), stop: new AbortController().signal },
    ...{ onAction: () => undefined, verdictOn: async () => undefined },
  };
  return playTask(stage, { id: 't', prompt: '' }, 0);
}

function tokensOf({ actions }: Trajectory): number[][] {
  return actions.map(({ tokens }) => [...tokens]);
}

test.each([
  ['takes no sample', () => tinkerSampler('/asample')],
  ['gives no result', () => tinkerSampler('/retrieve_future')],
  ['is vLLM and takes no sample', vllmSampler],
])('a play outlives its own deadline where the server %s for longer', async (_, open) => {
  const { sampler, door } = await open();
  const calm = await play(sampler);
  expect(calm.failure).toBeUndefined();
  door.isClosed = true;
  const stormy = play(sampler);
  await door.isNoticed;
  vi.advanceTimersByTime(5 * playTimeoutMs);
  door.isClosed = false;
  const { failure, ...played } = await stormy;
  expect(failure).toBeUndefined();
  expect(tokensOf(played)).toEqual(tokensOf(calm));
  expect(tokensOf(played)).toHaveLength(2);
});

test('a server that gives no result and stays away is given up when the patience with it ends', async () => {
  const door = createDoor();
  const fault = (seen: { readonly path: string }) =>
    seen.path === '/retrieve_future' && door.refuses() ? ('503 after' as const) : undefined;
  const { service, close } = await startServed('tuft', { fault }, { patience });
  ends.push(close);
  const sampler = await service.baseSampler();
  door.isClosed = true;
  const given = play(sampler);
  const lost = expect(given).rejects.toThrow(/gave no answer to a sample of the base for \d+ s/);
  await door.isNoticed;
  vi.advanceTimersByTime(2 * patience.outageMs);
  await lost;
});
