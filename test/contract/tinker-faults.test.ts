import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createRandom } from '../../src/random.ts';
import type { ServerKind } from '../../src/service/tinker/profile.ts';
import type { Policy } from '../../src/types/training-service.ts';
import { type Fault, faults, resultFaults } from '../support/tinker-server/faults.ts';
import type { Seen } from '../support/tinker-server/tinker-server.ts';
import { type Served, startServed } from '../support/tinker-server/with-server.ts';
import { adam, datumOf, lesson, logprobsNow, params, prompt } from './training-service-lesson.ts';

const opened: Served[] = [];
afterEach(async () => {
  for (const served of opened.splice(0)) await served.close();
});

async function open(...args: Parameters<typeof startServed>): Promise<Served> {
  const served = await startServed(...args);
  opened.push(served);
  return served;
}

/** Samples, passes and steps as a run makes them, with a saved state in the middle. */
async function train(policy: Policy, steps: number, directory: string): Promise<void> {
  for (let step = 1; step <= steps; step++) {
    const sampler = await policy.publish().result;
    const sequence = await sampler.sample(prompt, { ...params, seed: step });
    const advantage = step % 2 === 0 ? 1 : -0.5;
    const pass = policy.forwardBackward([datumOf(sequence, advantage)], {
      kind: 'importance_sampling',
    });
    const taught = policy.forwardBackward(lesson, { kind: 'cross_entropy' });
    await policy.optimStep(adam).result;
    await Promise.all([pass.result, taught.result]);
    if (step % 5 === 0) await policy.saveState(join(directory, `step-${step}`)).result;
  }
}

const anyFault = Object.keys(faults) as Fault[];
const anyResultFault = [...anyFault, ...Object.keys(resultFaults)] as Fault[];

/** So many faults at requests drawn from the first `among`, each of a kind that its request can meet. */
function faultsAt(count: number, among: number, seed: number) {
  const random = createRandom(seed);
  const at = new Set<number>();
  while (at.size < count) at.add(random.integer(among));
  const met: string[] = [];
  let requests = 0;
  const fault = ({ path }: Seen): Fault | undefined => {
    if (!at.has(requests++)) return undefined;
    const kinds = path === '/retrieve_future' ? anyResultFault : anyFault;
    const kind = kinds[random.integer(kinds.length)] as Fault;
    met.push(`${kind} at ${path}`);
    return kind;
  };
  return { fault, met };
}

/** The adapter of a 20-step run, as the server has it at the end. */
async function adapterAfter(kind: ServerKind, fault?: (seen: Seen) => Fault | undefined) {
  const { service, server, directory } = await open(kind, fault && { fault });
  const policy = await service.createPolicy({ id: 'a', seed: 3, rank: 4 });
  await train(policy, 20, directory);
  const state = JSON.parse(await readFile(join(directory, 'step-20', 'tinker.json'), 'utf8'));
  const [, model = '', name = ''] = /^tinker:\/\/([^/]+)\/weights\/([^/]+)$/.exec(state.path) ?? [];
  const read = (file: string) => readFile(join(directory, 'server', model, name, file));
  const files = [await read('adapter_model.safetensors'), await read('optimizer.safetensors')];
  return { files, requests: server.seen.length, version: policy.version() };
}

describe.each(['skyrl-jax', 'tuft'] as const)('a %s server', (kind) => {
  test('that fails 30 times in a run of 20 steps ends with the bits of one that never does', async () => {
    const calm = await adapterAfter(kind);
    const { fault, met } = faultsAt(30, calm.requests, 5);
    const stormy = await adapterAfter(kind, fault);
    expect(met).toHaveLength(30);
    expect(new Set(met).size).toBeGreaterThan(10);
    expect(stormy.version).toBe(20);
    expect(stormy.files).toEqual(calm.files);
  });
});

describe('what is not mended by trying again', () => {
  test('a restart of the server stops the run, resumably, and its saved state is gone on from', async () => {
    const { service, server, directory, connect } = await open('tuft');
    const policy = await service.createPolicy({ id: 'a', seed: 3, rank: 4 });
    await train(policy, 5, directory);
    const before = await logprobsNow(policy);
    const sampler = await policy.publish().result;
    await server.restart();
    const late = policy.forwardBackward(lesson, { kind: 'cross_entropy' }).result;
    await expect(late).rejects.toThrow(/forward_backward of policy "a".*forgotten what it had/);
    await expect(late).rejects.toMatchObject({ name: 'BoundaryError', retryable: true });
    await expect(sampler.sample(prompt, params)).rejects.toMatchObject({ retryable: true });
    await expect(policy.optimStep(adam).result).rejects.toThrow(/policy "a" cannot go on/);
    const again = await connect();
    const from = { directory: join(directory, 'step-5'), optimizer: true };
    const resumed = await again.createPolicy({ id: 'a', seed: 9, rank: 4, from });
    expect(resumed.version()).toBe(5);
    expect(await logprobsNow(resumed)).toEqual(before);
    await again.close();
  });

  test('a server that stays away is given up with what it said last', async () => {
    let isAway = false;
    const fault = () => (isAway ? ('503 after' as const) : undefined);
    const { service } = await open('tuft', { fault });
    const policy = await service.createPolicy({ id: 'a', seed: 3, rank: 4 });
    isAway = true;
    const late = policy.forward(lesson).result;
    await expect(late).rejects.toThrow(/gave no answer to forward of policy "a" for \d+ s .*503/);
    isAway = false;
    // Whether the server has the request is unknown, so the numbering cannot go on.
    await expect(policy.forward(lesson).result).rejects.toThrow(/cannot go on/);
  });

  test('a promise that is lost again and again is a failure, not a wait without end', async () => {
    let isLost = false;
    const fault = ({ path }: Seen) =>
      isLost && path === '/retrieve_future' ? ('promise lost' as const) : undefined;
    const { service } = await open('tuft', { fault });
    const policy = await service.createPolicy({ id: 'a', seed: 3, rank: 4 });
    isLost = true;
    await expect(policy.forward(lesson).result).rejects.toThrow(/status 410/);
  });
});
