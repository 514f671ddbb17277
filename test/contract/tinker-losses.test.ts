import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { profiles } from '../../src/service/tinker/profile.ts';
import type { Datum, Loss, Policy, TrainingService } from '../../src/types/training-service.ts';
import { type Served, startServed, testEngine } from '../support/tinker-server/with-server.ts';
import { expectClose, expectSameNorm, lesson, logprobsNow } from './training-service-lesson.ts';

const adam = { learningRate: 0.003, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 };

/** Every array a loss may read, with weights of any size and a masked token that holds what must not be read. */
const data: readonly Datum[] = [lesson[0], lesson[2], lesson[1], lesson[2]].map((datum, row) => {
  const { input, target } = datum as Datum;
  const wave = (scale: number, offset: number) =>
    Float32Array.from(input, (_, at) => offset + scale * Math.sin(3 * at + row));
  const weights = wave(0.4, 0.7);
  weights[0] = 0;
  const oldLogprobs = wave(0.3, -4.1);
  oldLogprobs[0] = Number.NaN;
  const arrays = { advantages: wave(1, 0.1), referenceLogprobs: wave(0.2, -4.2) };
  return { input, target, weights, oldLogprobs, ...arrays };
});
const signed = data.map((datum) => ({
  ...datum,
  weights: (datum.weights as Float32Array).map((weight, at) => (at % 2 === 0 ? weight : -weight)),
}));

const clip = { clipLow: 0.9, clipHigh: 1.1 };
const losses: Readonly<Record<string, readonly [Loss, readonly Datum[]]>> = {
  'cross entropy': [{ kind: 'cross_entropy' }, data],
  'cross entropy with weights of either sign': [{ kind: 'cross_entropy' }, signed],
  'importance sampling': [{ kind: 'importance_sampling' }, data],
  ppo: [{ kind: 'ppo', ...clip }, data],
  'ppo with weights of either sign': [{ kind: 'ppo', ...clip }, signed],
  'ppo with a dual clip': [{ kind: 'ppo', ...clip, dualClip: 1.05 }, data],
  cispo: [{ kind: 'cispo', ...clip }, data],
  gspo: [{ kind: 'gspo', ...clip }, data],
  linear: [{ kind: 'linear' }, data],
  'a divergence term': [
    { kind: 'importance_sampling', kl: { coefficient: 0.5, estimator: 'k3' } },
    data,
  ],
  preferences: [{ kind: 'dpo', beta: 0.5, labelSmoothing: 0.1, pairWeight: 0.5 }, data],
  'preferences with an anchor': [{ kind: 'dpo', beta: 0.5, pairWeight: 0.5, anchor: 0.7 }, data],
};

let local: TrainingService;
beforeAll(async () => {
  local = await createLocalTrainingService(testEngine);
});
afterAll(() => local.close());

test('a server that takes compressed passes is sent them, and has the same loss', async () => {
  const [loss, rows] = [{ kind: 'cross_entropy' }, data] as const;
  const plain = await startServed('tinker');
  const zstd = await startServed('tinker', { takesZstd: true });
  const learned = [];
  for (const { service } of [plain, zstd]) {
    const policy = await service.createPolicy({ id: 'a', seed: 1, rank: 4, alpha: 32 });
    learned.push(await learn(policy, loss, rows));
  }
  const passes = zstd.server.seen.filter(({ path }) => path === '/forward_backward');
  await plain.close();
  await zstd.close();
  expect(learned[1]).toEqual(learned[0]);
  expect(passes.length).toBeGreaterThan(0);
  expect(new Set(passes.map(({ headers }) => headers['content-encoding']))).toEqual(
    new Set(['zstd']),
  );
});

/** Two passes and a step, then another: what the optimiser remembers must be right, too. */
async function learn(policy: Policy, loss: Loss, rows: readonly Datum[]) {
  const first = policy.forwardBackward(rows.slice(0, 2), loss);
  const second = policy.forwardBackward(rows.slice(2), loss);
  const step = await policy.optimStep(adam).result;
  policy.forwardBackward(rows, loss);
  await policy.optimStep(adam).result;
  const results = [await first.result, await second.result];
  return { step, results, logprobs: await logprobsNow(policy) };
}

describe.each(['skyrl-jax', 'skyrl-megatron', 'tuft'] as const)('a %s server', (kind) => {
  let served: Served;
  let count = 0;
  beforeAll(async () => {
    served = await startServed(kind);
  });
  afterAll(() => served.close());

  test.each(Object.keys(losses))('learns from %s what this process learns', async (name) => {
    const [loss, rows] = losses[name] as readonly [Loss, readonly Datum[]];
    const id = `${kind} ${++count}`;
    const remote = await served.service.createPolicy({ id, seed: 3, rank: 4 });
    const alpha = profiles[kind].alpha(4);
    const here = await local.createPolicy({ id, seed: 3, rank: 4, alpha });
    const [there, own] = [await learn(remote, loss, rows), await learn(here, loss, rows)];
    own.results.forEach(({ metrics, logprobs }, pass) => {
      const other = there.results[pass];
      for (const [metric, value] of Object.entries(metrics)) {
        // A server returns no distributions to take an entropy of.
        if (metric !== 'entropy') expect(other?.metrics[metric], metric).toBeCloseTo(value, 4);
      }
      logprobs.forEach((row, datum) => {
        expect(other?.logprobs[datum]?.findIndex(Number.isNaN)).toBe(row.findIndex(Number.isNaN));
      });
    });
    if (there.step.gradNorm !== undefined) expectSameNorm(there.step, own.step);
    own.logprobs.forEach((row, datum) => {
      expectClose(there.logprobs[datum] ?? [], row, 2e-4);
    });
    await remote.close();
    await here.close();
  });
});
