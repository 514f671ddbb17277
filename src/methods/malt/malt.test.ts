import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRandom, seedFor } from '../../random.ts';
import { defineTeam } from '../../rollout/team.ts';
import { openRun, type Run } from '../../run/run-store.ts';
import { defaultLimits } from '../../sandbox/limits.ts';
import { openWorkspaces } from '../../sandbox/workspaces.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { Datum, Loss, Policy, Sampler, Ticket } from '../../types/training-service.ts';
import type { Settings, Training } from '../training.ts';
import { countMaltSteps, createMalt, type MaltOptions } from './malt.ts';

let directory: string;
let run: Run;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'teamtune-malt-'));
  run = openRun(directory, { mode: 'create' });
});
afterEach(() => {
  run.close();
  rmSync(directory, { recursive: true, force: true });
});

const agents = ['generator', 'verifier', 'refiner'] as const;
const member = { role: 'Member', maxTokens: 4 };
const team = defineTeam({
  name: 'three',
  agents: { generator: member, verifier: member, refiner: member },
  async play({ prompt }, { generator, verifier, refiner }) {
    const draft = await generator.act(prompt);
    const critique = await verifier.act(`${prompt}${draft.text}`);
    return (await refiner.act(`${prompt}${draft.text}${critique.text}`)).text;
  },
});

/** Every character is a token: its code. */
const tokenizer: Tokenizer = {
  ...{ vocabSize: 256, eosTokenIds: [0], takesTools: false },
  ...{ encode: codesOf, encodePlain: codesOf, renderChat: () => '' },
  decode: (ids) => String.fromCharCode(...ids),
  encodeChat: (messages) => codesOf(messages.map(({ content }) => content).join('')),
  extendChat: () => new Int32Array(),
};

function codesOf(text: string): Int32Array {
  return Int32Array.from([...text].map((character) => character.charCodeAt(0)));
}

function done<Result>(result: Result): Ticket<Result> {
  return { submitted: Promise.resolve(), result: Promise.resolve(result) };
}

/** A policy that says a digit by its seed, and notes what it is taught; every token has log-probability −1, then `later`. */
function notingPolicy(id: string, later = -1, stop: 'stop' | 'length' = 'stop') {
  const notes: { readonly data: readonly Datum[]; readonly loss: Loss }[] = [];
  const sampled: number[] = [];
  let steps = 0;
  const pass = (data: readonly Datum[], logprob: number) => ({
    logprobs: data.map(({ target }) => new Float32Array(target.length).fill(logprob)),
    metrics: { loss: 1, tokens: 1, correctPairs: data.length / 2, anchorLoss: 0.25 },
  });
  const sampler: Sampler = {
    ...{ policyId: id, version: 0, logprobs: async () => new Float32Array() },
    sample: async (_, { seed }) => {
      sampled.push(seed);
      const digit = 48 + createRandom(seed).integer(10);
      const tokens = Int32Array.of(digit, 0);
      return { tokens, logprobs: Float32Array.of(-1, -1), stop, version: 0 };
    },
  };
  const policy: Policy = {
    ...{ id, version: () => steps, close: async () => undefined },
    forward: (data) => done(pass(data, -1)),
    forwardBackward: (data, loss) => {
      notes.push({ data, loss });
      return done(pass(data, later));
    },
    optimStep: () => {
      steps += 1;
      return done({ gradNorm: 1 });
    },
    ...{ publish: () => done(sampler), saveState: () => done(undefined) },
    exportAdapter: async () => undefined,
  };
  return { policy, notes, sampled };
}

const settings: Settings = {
  ...{ seed: 1, steps: 2, tasksPerStep: 1, samplesPerTask: 1, temperature: 1, concurrency: 4 },
  ...{ playTimeoutMs: 60_000, maxActionTokens: 4, maxActions: 8, failedShareLimit: 0.25 },
  ...{ frozen: [], coachConcurrency: 4, showOutcome: false, unscoredShareLimit: 0.25 },
  ...{ logprobGapLimit: 1e-3, learningRateAt: () => 0.1, gradesEveryAnswer: false },
  maxStalenessSteps: 0,
  credit: { credit: 'coach', klCoefficient: 0, gamma: 1, sigmaFloor: 1e-4 },
  update: {
    ...{ loss: { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 }, average: 'token' },
    ...{ behaviourRatioLimit: 2, epochs: 1, miniBatches: 1 },
    adam: { learningRate: 0.1, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 },
  },
  evaluation: { every: 0, samplesPerTask: 1, temperature: 1 },
};

const options: MaltOptions = {
  ...{ rounds: 1, branching: 3, expansion: 'full', judge: 'outcome', objective: 'sft-dpo' },
  select: {
    ...{ threshold: 0.5, margin: 0, poolIdentical: false },
    ...{ distinctExamples: false, dropTruncated: true },
  },
  sft: { learningRate: 0.1, epochs: 2, batchSize: 8 },
  dpo: {
    ...{ learningRate: 0.1, epochs: 1, batchSize: 4, beta: 0.2, anchor: 1, collapseBelow: -2 },
  },
};

/** A team of three policies on two questions, whose answers are right when their digit is above 4. */
function trainingWith(later = -1, stop: 'stop' | 'length' = 'stop') {
  const policies = agents.map((agent) => [agent, notingPolicy(agent, later, stop)] as const);
  const silence = () => undefined;
  const training: Training = {
    ...{ run, team, tokenizer, heldOut: [], settings, tools: new Map() },
    tasks: ['a', 'b'].map((id) => ({ id, prompt: id, answer: '9' })),
    workspaces: openWorkspaces(join(directory, 'workspaces'), defaultLimits),
    service: {
      createPolicy: async () => notingPolicy('other').policy,
      baseSampler: () => Promise.reject(new Error('not asked for')),
      ...{ counters: () => ({}), close: async () => undefined },
    },
    policies: new Map(policies.map(([agent, { policy }]) => [agent, policy])),
    reference: notingPolicy('reference').policy,
    coach: {
      ...{ name: 'none', usage: () => ({ calls: 0, inputTokens: 0, outputTokens: 0 }) },
      score: () => Promise.reject(new Error('nobody is asked')),
    },
    grade: (_, { id, answer }) => ({ trajectoryId: id, correct: Number(answer) > 4 }),
    watch: { waiting: silence, step: silence, evaluated: silence, note: silence },
  };
  return { training, of: new Map(policies) };
}

test('a tree of 27 plays samples 3 drafts, 9 critiques and 27 last words, each by its own place', async () => {
  const { training, of } = trainingWith();
  const metrics = await createMalt(options)(training, 1);
  expect(agents.map((agent) => of.get(agent)?.sampled.length)).toEqual([6, 18, 54]);
  expect(metrics).toMatchObject({ questions: 2, plays: 54, failed: 0, 'sampled-tokens': 156 });
  expect(of.get('verifier')?.sampled).toContain(seedFor(1, '1/a/12/verifier.0.0'));
  const leaf = run.trajectory('1/a/14');
  expect(leaf?.actions.map(({ id }) => id)).toEqual([
    ...['1/a/9/generator.0.0', '1/a/12/verifier.0.0', '1/a/14/refiner.0.0'],
  ]);
  expect(leaf?.actions[1]?.parent).toBe('1/a/9/generator.0.0');
});

test('the run keeps what every action was worth and became', async () => {
  const { training } = trainingWith();
  const metrics = await createMalt(options)(training, 1);
  const nodes = run.trees.treeOf(1, 'a');
  expect(nodes).toHaveLength(39);
  const below = nodes.filter(({ parent }) => parent === '1/a/9/generator.0.0');
  const draft = nodes.find(({ actionId }) => actionId === '1/a/9/generator.0.0');
  expect(below).toHaveLength(3);
  expect(draft?.value).toBeCloseTo(below.reduce((sum, { value }) => sum + value, 0) / 3, 12);
  const all = [...nodes, ...run.trees.treeOf(1, 'b')];
  const words = all.filter(({ agent }) => agent === 'refiner');
  const sum = (of: 'preferred' | 'rejected') => words.reduce((total, node) => total + node[of], 0);
  expect([sum('preferred'), sum('rejected')]).toEqual(Array(2).fill(metrics['pairs/refiner']));
  expect(words.filter(({ dropped }) => dropped === undefined)).toHaveLength(
    metrics['examples/refiner'] ?? 0,
  );
});

test('a tree that was interrupted is gone on with: nothing recorded is sampled again, and it ends as it would have', async () => {
  const whole = trainingWith();
  const metrics = await createMalt(options)(whole.training, 1);
  const seeds = agents.flatMap((agent) => whole.of.get(agent)?.sampled ?? []).toSorted();
  run.close();
  run = openRun(join(directory, 'again'), { mode: 'create' });
  const cut = trainingWith();
  // The 20th last word fails for good, as a store that is full would.
  let left = 20;
  const stopping = {
    ...cut.training,
    grade: (...graded: Parameters<Training['grade']>) => {
      if (left-- === 0) throw new Error('killed');
      return cut.training.grade(...graded);
    },
  };
  await expect(createMalt(options)(stopping, 1)).rejects.toThrow('killed');
  const before = agents.flatMap((agent) => cut.of.get(agent)?.sampled ?? []);
  const resumed = trainingWith();
  const again = await createMalt(options)(resumed.training, 1);
  const after = agents.flatMap((agent) => resumed.of.get(agent)?.sampled ?? []);
  expect(before.length).toBeGreaterThan(20);
  expect([...before, ...after].toSorted()).toEqual(seeds);
  const facts = ({ seconds: _, 'play-seconds': __, 'rss-mebibytes': ___, ...rest }: typeof again) =>
    rest;
  expect(facts(again)).toEqual(facts(metrics));
});

test('positive actions become examples, and the next step prefers siblings, the first agent’s left out', async () => {
  const { training, of } = trainingWith();
  const step = createMalt(options);
  expect(countMaltSteps(options)).toBe(2);
  const first = await step(training, 1);
  for (const agent of agents) {
    const taught = of.get(agent)?.notes ?? [];
    const examples = first[`examples/${agent}`] ?? 0;
    expect(first[`sft-steps/${agent}`] ?? 0).toBe(2 * Math.ceil(examples / 8));
    expect(taught.every(({ loss }) => loss.kind === 'cross_entropy')).toBe(true);
    expect(taught.flatMap(({ data }) => data)).toHaveLength(2 * examples);
  }
  expect(first['examples/refiner']).toBe(
    [...run.outcomesOf(1).values()].filter(({ correct }) => correct).length,
  );
  const second = await step(training, 2);
  expect(second['dpo-steps/generator']).toBeUndefined();
  const pairs = first['pairs/refiner'] ?? 0;
  const taught = (of.get('refiner')?.notes ?? []).filter(({ loss }) => loss.kind === 'dpo');
  expect(taught.flatMap(({ data }) => data)).toHaveLength(2 * pairs);
  expect(taught[0]?.loss).toEqual({ kind: 'dpo', beta: 0.2, pairWeight: 0.25, anchor: 1 });
  // Each batch's loss of 1 less the anchor's quarter, a mean over its pairs, in one pass a step.
  expect(second['dpo-loss/refiner']).toBeCloseTo(0.75, 12);
  expect(second['dpo-steps/refiner']).toBe(taught.length);
  const data = taught[0]?.data ?? [];
  // A preferred answer and the rejected one follow the same words.
  expect(data[0]?.input.slice(0, 3)).toEqual(data[1]?.input.slice(0, 3));
  expect([...(data[0]?.referenceLogprobs ?? [])].at(-1)).toBe(-1);
  expect(second['chosen-log-ratio/refiner']).toBe(0);
});

test('a round without examples says whether its positive actions were cut off, or there were none', async () => {
  const { training: cut } = trainingWith(-1, 'length');
  await expect(createMalt(options)(cut, 1)).rejects.toThrow(
    /all \d+ positive actions of step 1 were cut off at their limit.*maxTokens/,
  );
  run.close();
  run = openRun(join(directory, 'wrong'), { mode: 'create' });
  const { training } = trainingWith();
  const wrong: Training = {
    ...training,
    grade: (_, { id }) => ({ trajectoryId: id, correct: false }),
  };
  await expect(createMalt(options)(wrong, 1)).rejects.toThrow(
    /hold no positive action.*method\.select\.threshold/,
  );
});

test('preferred answers that become unlikely stop the run with what to change', async () => {
  const { training } = trainingWith(-2.5);
  const step = createMalt(options);
  await step(training, 1);
  // Two tokens fall from −1 to −2.5 each: a log-ratio of −3.
  await expect(step(training, 2)).rejects.toThrow(/mean log-ratio -3\.00.*--resume.*dpo\.anchor/);
});

test('with `values` every action is trained on its backed-up value, a shared one once', async () => {
  const { training, of } = trainingWith();
  const metrics = await createMalt({ ...options, objective: 'values' })(training, 1);
  const rows = agents.map((agent) => of.get(agent)?.notes.flatMap(({ data }) => data).length);
  expect(rows).toEqual([6, 18, 54]);
  expect(metrics['reward/refiner']).toBeCloseTo(metrics.accuracy ?? 0, 6);
  expect(metrics['reward/generator']).toBeCloseTo(metrics.accuracy ?? 0, 6);
});
