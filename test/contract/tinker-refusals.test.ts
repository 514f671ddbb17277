import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import type { Datum } from '../../src/types/training-service.ts';
import { hasty } from '../support/tinker-server/hasty.ts';
import { testToken } from '../support/tinker-server/tinker-server.ts';
import { type Served, startServed, testEngine } from '../support/tinker-server/with-server.ts';
import {
  adam,
  lesson,
  logprobsNow,
  params,
  prompt,
  supervised,
} from './training-service-lesson.ts';

const opened: Served[] = [];
afterEach(async () => {
  for (const served of opened.splice(0)) await served.close();
});

async function open(...args: Parameters<typeof startServed>): Promise<Served> {
  const served = await startServed(...args);
  opened.push(served);
  return served;
}

const policyOf = ({ service }: Served) => service.createPolicy({ id: 'a', seed: 1, rank: 4 });

describe('what a server would silently do in another way is refused', () => {
  test('a base model that it does not have', async () => {
    await expect(startServed('tuft', { baseModel: 'Qwen/Qwen3-8B' })).rejects.toThrow(
      /has no model "tiny", it has Qwen\/Qwen3-8B/,
    );
  });

  test('an address where something else answers', async () => {
    const page = createServer((_, response) => {
      response.writeHead(404, { 'content-type': 'text/html' }).end('<html>no such page</html>');
    });
    await once(page.listen(0, '127.0.0.1'), 'listening');
    const { port } = page.address() as AddressInfo;
    const opening = startServed('tuft', {}, { url: `http://127.0.0.1:${port}` });
    await expect(opening).rejects.toThrow(
      /expected a server of the Tinker protocol at .*service\.url/,
    );
    page.close();
  });

  test.each([
    ['another scale of adapters', { alpha: 16 }, /alpha 32; set adapter.alpha=32/],
    ['adapters on some modules', { targets: ['q_proj'] }, /leave out adapter.targets/],
    ['a value head', { valueHead: true }, /no value head/],
    ['full fine-tuning', { rank: 'full' as const }, /LoRA adapters, not the base/],
  ])('%s', async (_, options, message) => {
    const { service } = await open('tinker');
    const creating = service.createPolicy({ id: 'a', seed: 1, rank: 4, ...options });
    await expect(creating).rejects.toThrow(message);
  });

  test('adapters of two ranks where all must have one', async () => {
    const served = await open('skyrl-megatron');
    await policyOf(served);
    const creating = served.service.createPolicy({ id: 'b', seed: 1, rank: 8 });
    await expect(creating).rejects.toThrow(/one rank only: policy "b" of rank 8/);
  });

  test.each([
    [
      'skyrl-jax',
      { weightDecay: 0.01 },
      /steps with 0, and 0.01 is asked for; set update.weightDecay=0/,
    ],
    ['skyrl-jax', { maxGradNorm: 1 }, /set update.maxGradNorm=false/],
    ['skyrl-megatron', { beta2: 0.999 }, /takes no beta2 .* steps with 0.95/],
    ['tuft', { maxGradNorm: 1 }, /set update.maxGradNorm=false/],
  ] as const)('optimiser numbers of its own: %s, %o', async (kind, change, message) => {
    const policy = await policyOf(await open(kind));
    policy.forwardBackward(lesson, { kind: 'cross_entropy' });
    await expect(policy.optimStep({ ...adam, ...change }).result).rejects.toThrow(message);
    expect(policy.version()).toBe(0);
    expect((await policy.optimStep(adam).result) !== undefined).toBe(true);
  });

  test('sampling of which it records other numbers than those that training needs', async () => {
    const policy = await policyOf(await open('tuft'));
    const sampler = await policy.publish().result;
    const sample = (change: object) => sampler.sample(prompt, { ...params, ...change });
    await expect(sample({ temperature: 0.7 })).rejects.toThrow(/temperature is 0.7/);
    await expect(sample({ topP: 0.9 })).rejects.toThrow(/topK, topP and minP/);
    await expect(sample({ stopStrings: ['x'] })).rejects.toThrow(/needs the text of tokens/);
  });

  test('a folder that holds an adapter of another engine', async () => {
    const { service, directory } = await open('tuft');
    await mkdir(join(directory, 'peft'));
    const from = { directory: join(directory, 'peft'), optimizer: false };
    const creating = service.createPolicy({ id: 'a', seed: 1, rank: 4, from });
    await expect(creating).rejects.toThrow(/no state of a training server/);
  });
});

describe('a wrong result is not trained on', () => {
  const altered = (change: (result: Record<string, unknown>) => unknown) => {
    let isOn = false;
    const alter = (result: unknown) => (isOn ? change(result as Record<string, unknown>) : result);
    return {
      alter,
      turnOn: () => {
        isOn = true;
      },
    };
  };
  const sequence = { tokens: [1, 2, 3], logprobs: [-1, -2, -3], stop_reason: 'length' };

  test.each([
    ['are all 0', { ...sequence, logprobs: [0, 0, 0] }, /all 0/],
    ['are too few', { ...sequence, logprobs: [-1] }, /3 tokens with 1 log-prob/],
    ['are missing', { tokens: [1, 2, 3], stop_reason: 'length' }, /without log-prob/],
    ['are not finite', { ...sequence, logprobs: [-1, null, -1] }, /another form|not finite/],
  ])('a sample whose log-probabilities %s', async (_, wrong, message) => {
    const { alter, turnOn } = altered(() => ({ sequences: [wrong] }));
    const policy = await policyOf(await open('skyrl-jax', { alter }));
    const sampler = await policy.publish().result;
    turnOn();
    await expect(sampler.sample(prompt, params)).rejects.toThrow(message);
  });

  const row = (data: readonly (number | null)[]) => ({ logprobs: { data } });
  test.each([
    ['too few rows', [row([-1, -1])], /1 results for 2 datums/],
    ['rows of other lengths', [row([-1]), row([-1, -1])], /1 log-probabilities for the 2 tokens/],
  ])('a pass with %s', async (_, outputs, message) => {
    const change = () => ({ loss_fn_outputs: outputs, metrics: {} });
    const { alter, turnOn } = altered(change);
    const policy = await policyOf(await open('skyrl-jax', { alter }));
    turnOn();
    const pass = policy.forward([supervised(1, 2, 3), supervised(4, 5, 6)]);
    await expect(pass.result).rejects.toThrow(message);
  });

  test('a gradient that may be in part on the server meets no step', async () => {
    const { alter, turnOn } = altered(() => ({ loss_fn_outputs: [] }));
    const policy = await policyOf(await open('skyrl-megatron', { alter }, { dialect: 'json' }));
    turnOn();
    policy.forwardBackward(lesson, { kind: 'cross_entropy' });
    await expect(policy.optimStep(adam).result).rejects.toThrow(/cannot go on.*0 results/);
  });
});

describe('who may come in', () => {
  const keys = ['tml-secret'];

  test('shows its key, and is told when that is the wrong one', async () => {
    const { server } = await open('tinker', { keys }, { apiKey: 'tml-secret' });
    expect(server.seen.every(({ headers }) => headers['x-api-key'] === 'tml-secret')).toBe(true);
    await expect(startServed('tinker', { keys }, { apiKey: 'tml-other' })).rejects.toThrow(/401/);
  });

  test('exchanges its key for tokens where the server wants them', async () => {
    const options = { keys, hasTokens: true };
    const served = await open('tinker', options, { apiKey: 'tml-secret' });
    await logprobsNow(await policyOf(served));
    const asked = served.server.seen.filter(({ path }) => path === '/auth/token');
    expect(asked).toHaveLength(1);
    expect(served.server.seen.at(-1)?.headers['x-api-key']).toBe(testToken);
  });
});

test('many datums go in requests of at most 1024, and come back in order', async () => {
  const served = await open('tuft');
  const policy = await policyOf(served);
  const many = Array.from({ length: 1500 }, (_, at): Datum => supervised(at % 60, (at * 7) % 60));
  const { logprobs, metrics } = await policy.forward(many).result;
  expect(metrics.tokens).toBe(1500);
  const passes = served.server.seen.filter(({ path }) => path === '/forward_backward');
  expect(passes).toHaveLength(2);
  for (const at of [0, 1023, 1024, 1499]) {
    const alone = await policy.forward(many.slice(at, at + 1)).result;
    expect(logprobs[at]?.[0]).toBeCloseTo(alone.logprobs[0]?.[0] ?? Number.NaN, 5);
  }
});

test('stop strings end a sequence with the token that completes one, though the server knows none', async () => {
  const decode = (tokens: Iterable<number>) =>
    Array.from(tokens, (id) => String.fromCharCode(64 + id)).join('');
  const served = await open('tuft', {}, { decode });
  const sampler = await (await policyOf(served)).publish().result;
  const free = await sampler.sample(prompt, params);
  const stopStrings = [decode(free.tokens.subarray(3, 5))];
  const stopped = await sampler.sample(prompt, { ...params, stopStrings });
  expect(stopped).toMatchObject({ stop: 'stop', tokens: free.tokens.slice(0, 5) });
  expect(stopped.logprobs).toHaveLength(5);
});

test('a client that closes frees its places, and is heard from no more', async () => {
  const served = await open('skyrl-jax');
  await policyOf(served);
  await served.service.close();
  const last = served.server.seen.at(-1);
  expect(last?.path).toBe('/unload_model');
  await expect(policyOf(served)).rejects.toThrow(/closed/);
});

test('a place for an adapter is waited for, as a killed run’s are free after a while, and a person is told', async () => {
  const notes: string[] = [];
  let tell = (): void => undefined;
  const told = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const note = (text: string) => {
    notes.push(text);
    tell();
  };
  const served = await open('skyrl-jax', { places: 1 }, { note });
  const first = await policyOf(served);
  const second = served.service.createPolicy({ id: 'b', seed: 1, rank: 4 });
  await told;
  await first.close();
  expect((await second).id).toBe('b');
  expect(notes).toHaveLength(1);
  expect(notes[0]).toMatch(/Maximum number of LoRA adapters \(1\) reached: waiting up to/);
});

test('a place that does not become free in time is refused with the server’s words', async () => {
  const served = await open('skyrl-jax', { places: 0 }, { patience: { ...hasty, placeMs: 0 } });
  await expect(policyOf(served)).rejects.toThrow(/create_model .*Maximum number of LoRA adapters/);
});

test('an exported adapter names its modules, though the server does not, and this process reads it', async () => {
  const served = await open('skyrl-jax');
  const policy = await policyOf(served);
  policy.forwardBackward(lesson, { kind: 'cross_entropy' });
  await policy.optimStep(adam).result;
  const directory = join(served.directory, 'adapter');
  await policy.exportAdapter(directory);
  const local = await createLocalTrainingService(testEngine);
  const from = { directory, optimizer: false };
  const here = await local.createPolicy({ id: 'a', seed: 1, rank: 'stored', from });
  expect(await logprobsNow(here)).toEqual(await logprobsNow(policy));
  await local.close();
});
