import { expect, test } from 'vitest';
import type { CreditedAction } from '../types/credit.ts';
import type { Datum, PassResult, Policy, Ticket } from '../types/training-service.ts';
import type { Action } from '../types/trajectory.ts';
import { type UpdateOptions, updatePolicy } from './update-policy.ts';

/** An action of one observed and one sampled token, which names it. */
function credited(token: number, logprob = -1): CreditedAction {
  const action: Action = {
    ...{ id: `a${token}`, agent: 'solver', role: 'Solver', turn: 0, seed: 0, text: '' },
    ...{ policy: { id: 'solver', version: 0 }, toolCalls: [], toolResults: [] },
    stop: 'stop',
    observationText: '',
    observation: Int32Array.of(0),
    tokens: Int32Array.of(token),
    logprobs: Float32Array.of(logprob),
  };
  return { action, reward: 1, advantages: Float32Array.of(token) };
}

function done<Result>(result: Result): Ticket<Result> {
  return { submitted: Promise.resolve(), result: Promise.resolve(result) };
}

/** A policy that notes what it is asked to do; every token has log-probability −1. */
function notingPolicy(gradNorm = 2) {
  const notes: string[] = [];
  const passOf = (data: readonly Datum[]): PassResult => ({
    logprobs: data.map(({ target }) => new Float32Array(target.length).fill(-1)),
    metrics: { loss: data.length, tokens: data.length, clippedTokens: 1, entropy: data.length / 2 },
  });
  const policy: Policy = {
    ...{ id: 'solver', version: () => 0, close: async () => undefined },
    forward: (data) => done(passOf(data)),
    forwardBackward: (data) => {
      notes.push(data.map(({ target }) => target[0]).join(' '));
      return done(passOf(data));
    },
    optimStep: ({ learningRate }) => {
      notes.push(`step ${learningRate}`);
      return done({ gradNorm });
    },
    publish: () => {
      throw new Error('not asked for');
    },
    ...{ saveState: () => done(undefined), exportAdapter: async () => undefined },
  };
  return { policy, notes };
}

const options: UpdateOptions = {
  ...{
    loss: { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 },
    average: 'token',
    seed: 1,
    behaviourRatioLimit: 2,
  },
  ...{ epochs: 1, miniBatches: 2, logprobGapLimit: 1 },
  adam: { learningRate: 0.5, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 },
};
const actions = [1, 2, 3, 4, 5].map((token) => credited(token));

test('five actions in two mini-batches are dealt as two and three, each once, one optimiser step after each', async () => {
  const { policy, notes } = notingPolicy();
  const metrics = await updatePolicy(policy, actions, options);
  const [first = '', step, second = '', last] = notes;
  expect([step, last, notes.length]).toEqual(['step 0.5', 'step 0.5', 4]);
  expect([first.split(' ').length, second.split(' ').length]).toEqual([2, 3]);
  expect(`${first} ${second}`.split(' ').toSorted()).toEqual(['1', '2', '3', '4', '5']);
  // Means over the two steps: loss (2 + 3)/2, clipped tokens (1/2 + 1/3)/2, entropy per token 1/2.
  expect(metrics).toEqual({
    ...{ loss: 2.5, 'grad-norm': 2, entropy: 0.5, 'optimizer-steps': 2, 'logprob-gap': 0 },
    'clip-fraction': expect.closeTo(5 / 12),
  });
});

test('the order is the seed’s: the same again, another with another seed, and anew in every epoch', async () => {
  const orderOf = async (seed: number) => {
    const { policy, notes } = notingPolicy();
    await updatePolicy(policy, actions, { ...options, seed, epochs: 2, miniBatches: 1 });
    return notes.filter((note) => !note.startsWith('step'));
  };
  const order = await orderOf(1);
  expect(await orderOf(1)).toEqual(order);
  expect(await orderOf(2)).not.toEqual(order);
  expect(order[0]).not.toBe(order[1]);
});

test('fewer actions than mini-batches give as many steps as actions', async () => {
  const { policy, notes } = notingPolicy();
  const metrics = await updatePolicy(policy, [credited(9)], { ...options, miniBatches: 4 });
  expect(notes).toEqual(['9', 'step 0.5']);
  expect(metrics['optimizer-steps']).toBe(1);
});

test('an agent without credited actions is left alone: not even weight decay moves it', async () => {
  const { policy, notes } = notingPolicy();
  expect(await updatePolicy(policy, [], options)).toEqual({ 'optimizer-steps': 0 });
  expect(notes).toEqual([]);
});

test('a gradient that is not a number stops the run at once', async () => {
  const { policy, notes } = notingPolicy(Number.NaN);
  await expect(updatePolicy(policy, actions, options)).rejects.toThrow(
    'the gradient of policy solver is NaN: the update diverged',
  );
  expect(notes).toHaveLength(2);
});

test('the gap is the largest difference over the tokens of the first pass, either way; above the limit nothing moves', async () => {
  const { policy, notes } = notingPolicy();
  const three = [credited(1, -1), credited(2, -1.5), credited(3, -0.75)];
  const wide = { ...options, miniBatches: 1, logprobGapLimit: 0.5 };
  expect(await updatePolicy(policy, three, wide)).toMatchObject({ 'logprob-gap': 0.5 });
  notes.length = 0;
  await expect(updatePolicy(policy, three, { ...wide, logprobGapLimit: 0.4 })).rejects.toThrow(
    'differ by up to 5.0e-1 nats, the limit is 0.4',
  );
  expect(notes.filter((note) => note.startsWith('step'))).toEqual([]);
});

test('plays of an earlier version are corrected by what the policy says of them now, and no gap is measured', async () => {
  const { policy, notes } = notingPolicy();
  const moved = { ...policy, version: () => 3 };
  // The policy says −1 of every token now: ratios e⁻¹ᐟ², e and e², of which the last is held at e.
  const stale = [credited(1, -0.5), credited(2, -2), credited(3, -3)];
  const metrics = await updatePolicy(moved, stale, {
    ...{ ...options, miniBatches: 1, behaviourRatioLimit: Math.E, logprobGapLimit: 1e-3 },
    isStale: true,
  });
  expect(metrics['truncated-ratios']).toBeCloseTo(1 / 3, 12);
  expect(metrics['behaviour-kl']).toBeCloseTo((0.5 - 1 - 2) / 3, 12);
  expect(metrics).not.toHaveProperty('logprob-gap');
  expect(notes).toEqual(['3 1 2', 'step 0.5']);
});

test('plays that are not stale in a run where they may be are checked as ever', async () => {
  const { policy } = notingPolicy();
  const fresh = [credited(1, -1), credited(2, -1.5)];
  const metrics = await updatePolicy(policy, fresh, {
    ...{ ...options, miniBatches: 1 },
    isStale: true,
  });
  expect(metrics).toMatchObject({ 'logprob-gap': 0.5, 'truncated-ratios': 0 });
});

test('a critic learns from the actions that it judged, before the policy moves', async () => {
  const { policy, notes } = notingPolicy();
  const critic = { values: Float32Array.of(0.5), returns: Float32Array.of(1) };
  const actions = [{ ...credited(7), critic }, credited(8)];
  const metrics = await updatePolicy(policy, actions, {
    ...options,
    ...{ miniBatches: 1, critic: { coefficient: 0.1 } },
  });
  expect(notes.slice(1)).toEqual(['7', 'step 0.5']);
  // One datum of loss 1 in this fake, before the coefficient.
  expect(metrics['value-loss']).toBeCloseTo(10, 9);
});
