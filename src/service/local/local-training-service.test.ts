import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ModelConfig } from '../../engine/model-config.ts';
import { liveTensors } from '../../engine/tensor.ts';
import type { Adam, Datum, Policy, SampleParams } from '../../types/training-service.ts';
import { createLocalTrainingService, type LocalTrainingService } from './local-training-service.ts';

const model: ModelConfig = {
  architecture: 'llama',
  vocabSize: 32,
  hiddenSize: 16,
  intermediateSize: 24,
  layers: 1,
  heads: 2,
  keyValueHeads: 1,
  headDim: 8,
  maxPositions: 64,
  ropeTheta: 10_000,
  ropeScaling: { kind: 'none' },
  rmsNormEps: 1e-6,
  initializerRange: 0.02,
  tieWordEmbeddings: true,
  attentionBias: false,
  outputBias: false,
  qkNorm: false,
  dtype: 'float32',
  eosTokenIds: [],
};
const adam: Adam = { learningRate: 0.01, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 };
const params: SampleParams = { maxTokens: 20, temperature: 1, seed: 1, stopTokens: [] };
const prompt = Int32Array.of(1, 2, 3);
const lesson: readonly Datum[] = [
  { input: Int32Array.of(1, 2, 3, 4), target: Int32Array.of(2, 3, 4, 5) },
];

let service: LocalTrainingService;
let directory: string;

beforeEach(async () => {
  service = await createLocalTrainingService({ model, seed: 3 });
  directory = await mkdtemp(join(tmpdir(), 'teamtune-service-'));
});

afterEach(async () => {
  await service.close();
  await rm(directory, { recursive: true });
});

async function step(policy: Policy): Promise<number> {
  const pass = policy.forwardBackward(lesson, { kind: 'cross_entropy' });
  await policy.optimStep(adam).result;
  return (await pass.result).metrics.loss ?? Number.NaN;
}

describe('the memory of the local service', () => {
  it('has no more tensors after steps than before, with a sampler held of every version', async () => {
    const policy = await service.createPolicy({ id: 'a', seed: 1, rank: 2 });
    const held = [];
    const counts: number[] = [];
    for (let round = 0; round < 6; round++) {
      const sampler = await policy.publish().result;
      await Promise.all([1, 2, 3].map((seed) => sampler.sample(prompt, { ...params, seed })));
      held.push(sampler);
      await step(policy);
      counts.push(liveTensors());
    }
    expect(counts.slice(2)).toEqual(new Array<number>(4).fill(counts[1] ?? -1));
    // Its adapter is laid out for the pass in the place of a newer one's.
    const older = await held[1]?.sample(prompt, params);
    expect(older?.version).toBe(1);
    expect(liveTensors()).toBe(counts.at(-1));
  });

  it('frees everything at the end, even with work under way', async () => {
    await service.close();
    const before = liveTensors();
    const other = await createLocalTrainingService({ model, seed: 3 });
    const policy = await other.createPolicy({ id: 'a', seed: 1, rank: 2 });
    await step(policy);
    const sampler = await policy.publish().result;
    const underWay = [sampler.sample(prompt, params), policy.forward(lesson).result];
    const refused = underWay.map((promise) => expect(promise).rejects.toThrow(/closed/));
    await other.close();
    await Promise.all(refused);
    await expect(sampler.sample(prompt, params)).rejects.toThrow(/closed/);
    await expect(other.createPolicy({ id: 'b', seed: 1, rank: 2 })).rejects.toThrow(/closed/);
    expect(liveTensors()).toBe(before);
  });

  it('closes one policy and goes on with the others', async () => {
    const first = await service.createPolicy({ id: 'a', seed: 1, rank: 2 });
    const second = await service.createPolicy({ id: 'b', seed: 2, rank: 2 });
    const sampler = await first.publish().result;
    const before = await sampler.sample(prompt, params);
    await first.close();
    await expect(first.forward(lesson).result).rejects.toThrow(/"a" is closed/);
    expect(await sampler.sample(prompt, params)).toEqual(before);
    expect(await step(second)).toBeGreaterThan(0);
    await expect(service.createPolicy({ id: 'a', seed: 1, rank: 2 })).resolves.toBeDefined();
  });
});

describe('a device that lacks what is asked of it', () => {
  it('samples the same without graphs, which is said once', async () => {
    const notes: string[] = [];
    const note = (text: string) => void notes.push(text);
    const other = await createLocalTrainingService({ model, seed: 3, decodeGraphs: true, note });
    const draw = async (from: LocalTrainingService) =>
      (await from.baseSampler()).sample(prompt, params);
    expect((await draw(other)).tokens).toEqual((await draw(service)).tokens);
    await other.close();
    expect(notes).toEqual([expect.stringMatching(/has no graphs for the device cpu/)]);
  });

  it('is refused before anything is loaded when it is not there', async () => {
    const options = { modelDirectory: '/there/is/none', device: 'cuda:99' };
    await expect(createLocalTrainingService(options)).rejects.toThrow(
      /^the device cuda:99 is not there: libtorch \d\S* can use \d+ CUDA devices of this machine; take the device cpu/,
    );
  });
});

describe('a policy that has taken no step', () => {
  it('samples with the bits of the base, scores with those of its adapter, and has its own after one', async () => {
    const sizes = { hiddenSize: 32, intermediateSize: 64, headDim: 16 };
    const own = await createLocalTrainingService({ model: { ...model, ...sizes }, seed: 3 });
    const policy = await own.createPolicy({ id: 'a', seed: 1, rank: 2 });
    const base = await own.baseSampler();
    const before = await policy.publish().result;
    const { version: _, ...sampled } = await base.sample(prompt, params);
    expect(await before.sample(prompt, params)).toEqual({ ...sampled, version: 0 });
    const scored = await policy.forward(lesson).result;
    const trained = await policy.forwardBackward(lesson, { kind: 'cross_entropy' }).result;
    expect(scored.logprobs).toEqual(trained.logprobs);
    await policy.optimStep(adam).result;
    const after = await policy.publish().result;
    const text = Int32Array.of(1, 2, 3, 4, 5);
    expect(await after.logprobs(text)).not.toEqual(await base.logprobs(text));
    expect(await before.logprobs(text)).toEqual(await base.logprobs(text));
    await own.close();
  });
});

describe('full fine-tuning', () => {
  it('trains the base, saves it as a model, and loads it again', async () => {
    const policy = await service.createPolicy({ id: 'base', seed: 1, rank: 'full' });
    const losses = [await step(policy), await step(policy), await step(policy)];
    expect(losses).toEqual([...losses].sort((left, right) => right - left));
    const saved = join(directory, 'model');
    await service.saveModel(saved);
    expect(await readdir(saved)).toEqual(['config.json', 'model.safetensors']);
    const other = await createLocalTrainingService({ modelDirectory: saved });
    const sampler = await policy.publish().result;
    const reloaded = await other.baseSampler();
    expect(await reloaded.logprobs(prompt)).toEqual(await sampler.logprobs(prompt));
    await other.close();
  });

  it('goes on from a saved state with the same bits', async () => {
    const policy = await service.createPolicy({ id: 'base', seed: 1, rank: 'full' });
    await step(policy);
    const state = join(directory, 'state');
    await policy.saveState(state).result;
    const wanted = [await step(policy), await step(policy)];
    const other = await createLocalTrainingService({ model, seed: 99 });
    const from = { directory: state, optimizer: true };
    const restored = await other.createPolicy({ id: 'base', seed: 1, rank: 'full', from });
    expect(restored.version()).toBe(1);
    expect([await step(restored), await step(restored)]).toEqual(wanted);
    await other.close();
  });

  it('stands alone, and says so', async () => {
    await service.createPolicy({ id: 'base', seed: 1, rank: 'full' });
    await expect(service.createPolicy({ id: 'a', seed: 1, rank: 2 })).rejects.toThrow(
      /"a" cannot stand beside "base"/,
    );
    await expect(service.baseSampler()).rejects.toThrow(/no base to sample/);
  });

  it('keeps one version: a step ends the samplers before it, but not what they have under way', async () => {
    const policy = await service.createPolicy({ id: 'base', seed: 1, rank: 'full' });
    const sampler = await policy.publish().result;
    const alone = await sampler.sample(prompt, params);
    const underWay = sampler.sample(prompt, params);
    await step(policy);
    expect(await underWay).toEqual(alone);
    await expect(sampler.sample(prompt, params)).rejects.toThrow(/publish again/);
  });
});

describe('data in any amount', () => {
  it('gives the same numbers whatever the size of micro-batches', async () => {
    const data: readonly Datum[] = [5, 2, 9, 5, 3].map((length, row) => ({
      input: Int32Array.from({ length }, (_, at) => (at * 7 + row) % 32),
      target: Int32Array.from({ length }, (_, at) => (at * 5 + row) % 32),
    }));
    const results = [];
    for (const microBatchTokens of [1, 12, 4096]) {
      const other = await createLocalTrainingService({ model, seed: 3, microBatchTokens });
      const policy = await other.createPolicy({ id: 'a', seed: 1, rank: 2 });
      const { metrics, logprobs } = await policy.forwardBackward(data, { kind: 'cross_entropy' })
        .result;
      expect(logprobs.map(({ length }) => length)).toEqual([5, 2, 9, 5, 3]);
      results.push([metrics.loss, (await policy.optimStep(adam).result).gradNorm]);
      await other.close();
    }
    for (const [loss, norm] of results.slice(1)) {
      expect(loss).toBeCloseTo(results[0]?.[0] ?? 0, 4);
      expect(norm).toBeCloseTo(results[0]?.[1] ?? 0, 4);
    }
  });

  it('leaves the log-probabilities of masked tokens out, and skips a datum of nothing else', async () => {
    const policy = await service.createPolicy({ id: 'a', seed: 1, rank: 2 });
    const masked = { ...(lesson[0] as Datum), weights: Float32Array.of(0, 0, 1, 0) };
    const empty = { ...masked, weights: new Float32Array(4) };
    const { logprobs, metrics } = await policy.forwardBackward([masked, empty], {
      kind: 'cross_entropy',
    }).result;
    expect([...(logprobs[0] ?? [])].map(Number.isNaN)).toEqual([true, true, false, true]);
    expect(logprobs[1]?.every(Number.isNaN)).toBe(true);
    expect(metrics.tokens).toBe(1);
    expect(metrics.loss).toBeCloseTo(-(logprobs[0]?.[2] ?? 0), 6);
  });
});

describe('what the service says of its memory', () => {
  it('has every component in bytes', async () => {
    // 32 × 16 embeddings, 16 + 16 + 16 norms, attention 16 × (16 + 8 + 8) + 16 × 16, MLP 3 × 16 × 24; tied head.
    const weights = 32 * 16 + 3 * 16 + 16 * 32 + 256 + 3 * 16 * 24;
    const before = service.counters();
    expect(before).toMatchObject({ weightBytes: 4 * weights, adapterBytes: 0, optimizerBytes: 0 });
    const targets = ['q_proj', 'down_proj'];
    await service.createPolicy({ id: 'a', seed: 1, rank: 2, targets, valueHead: true });
    // A and B of both modules, and the head's 16 weights and bias.
    const trained = 2 * (16 + 16) + 2 * (24 + 16) + 17;
    const after = service.counters();
    expect(after.adapterBytes).toBe(4 * trained);
    expect(after.optimizerBytes).toBe(2 * 4 * trained);
    await (await service.baseSampler()).sample(prompt, params);
    expect(service.counters().cacheBytes).toBeGreaterThan(0);
  });
});

describe('stop strings', () => {
  /** Token 1 is `b`, and so on. */
  const decode = (tokens: Iterable<number>) =>
    String.fromCharCode(...Array.from(tokens, (token) => 97 + token));

  it('end a sequence at the token that completes one, and leave other rows alone', async () => {
    const other = await createLocalTrainingService({ model, seed: 3, decode });
    const sampler = await other.baseSampler();
    const free = await sampler.sample(prompt, params);
    const text = decode(free.tokens.slice(3, 6));
    const [stopped, untouched] = await Promise.all([
      sampler.sample(prompt, { ...params, stopStrings: [text] }),
      sampler.sample(prompt, params),
    ]);
    const end = decode(free.tokens).indexOf(text) + 3;
    expect(stopped.stop).toBe('stop');
    expect(stopped.tokens).toEqual(free.tokens.slice(0, end));
    expect(untouched).toEqual(free);
    await other.close();
  });

  it('are refused by a service that knows no text', async () => {
    const sampler = await service.baseSampler();
    const refused = sampler.sample(prompt, { ...params, stopStrings: ['a'] });
    await expect(refused).rejects.toThrow(/create the service with `decode`/);
  });
});

describe('full fine-tuning in bfloat16', () => {
  it('lowers the loss by steps below the rounding of its weights, and goes on from a saved state', async () => {
    const open = () => createLocalTrainingService({ model, seed: 3, dtype: 'bfloat16' });
    const small = { ...adam, learningRate: 2e-5 };
    const first = await open();
    const policy = await first.createPolicy({ id: 'all', seed: 1, rank: 'full' });
    const lossOf = async (of: Policy) => {
      const pass = of.forwardBackward(lesson, { kind: 'cross_entropy' });
      await of.optimStep(small).result;
      return (await pass.result).metrics.loss ?? Number.NaN;
    };
    const start = await lossOf(policy);
    for (let step = 0; step < 60; step++) await lossOf(policy);
    const state = join(directory, 'state');
    await policy.saveState(state).result;
    const rest = [await lossOf(policy), await lossOf(policy)];
    expect(rest[0]).toBeLessThan(start);
    await first.close();

    const second = await open();
    const from = { directory: state, optimizer: true };
    const restored = await second.createPolicy({ id: 'all', seed: 1, rank: 'full', from });
    expect([await lossOf(restored), await lossOf(restored)]).toEqual(rest);
    await second.close();
  });
});

describe('the order of one policy', () => {
  it('refuses to save a state that would lose a gradient', async () => {
    const policy = await service.createPolicy({ id: 'a', seed: 1, rank: 2 });
    policy.forwardBackward(lesson, { kind: 'cross_entropy' });
    const saving = policy.saveState(join(directory, 'state')).result;
    await expect(saving).rejects.toThrow(/would lose a gradient/);
    expect(await readdir(directory)).toEqual([]);
  });
});
