import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { defineTeam } from '../rollout/team.ts';
import { openRun, type Run } from '../run/run-store.ts';
import { defaultLimits } from '../sandbox/limits.ts';
import { openWorkspaces } from '../sandbox/workspaces.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Coach } from '../types/feedback.ts';
import type { PassResult, Policy, Sampler, Ticket } from '../types/training-service.ts';
import { mappaStep } from './mappa.ts';
import type { PlaysAhead, Settings, Training } from './training.ts';

let directory: string;
let run: Run;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'teamtune-mappa-'));
  run = openRun(directory, { mode: 'create' });
});
afterEach(() => {
  run.close();
  rmSync(directory, { recursive: true, force: true });
});

const tasks = ['a', 'b', 'c', 'd'].map((id) => ({ id, prompt: id }));
const team = defineTeam({
  name: 'one',
  agents: { solver: { role: 'Solver', maxTokens: 4 } },
  play: async ({ prompt }, { solver }) => (await solver.act(prompt)).text,
});
/** A team that cannot play the tasks named. */
const teamFailingOn = (...ids: string[]) => ({
  ...team,
  play: async (...[task, agents, scene]: Parameters<typeof team.play>) => {
    if (ids.includes(task.id)) throw new Error(`cannot play ${task.id}`);
    return team.play(task, agents, scene);
  },
});

const tokenizer: Tokenizer = {
  ...{ vocabSize: 8, eosTokenIds: [7], takesTools: false, encode: () => Int32Array.of(1) },
  ...{ encodePlain: () => Int32Array.of(1), decode: () => 'text', renderChat: () => 'text' },
  ...{ encodeChat: () => Int32Array.of(1, 2), extendChat: () => Int32Array.of(1, 2) },
};
const sampler: Sampler = {
  ...{ policyId: 'solver', version: 0, logprobs: async () => new Float32Array() },
  sample: async () => ({
    ...{ tokens: Int32Array.of(3, 7), logprobs: Float32Array.of(-1, -1) },
    ...{ stop: 'stop', version: 0 },
  }),
};

function done<Result>(result: Result): Ticket<Result> {
  return { submitted: Promise.resolve(), result: Promise.resolve(result) };
}

/** A policy whose trainer finds `logprob` for every token, and how often it was updated. */
function policyWith(logprob = -1) {
  let updates = 0;
  const pass = (data: readonly { readonly target: Int32Array }[]): PassResult => ({
    logprobs: data.map(({ target }) => new Float32Array(target.length).fill(logprob)),
    values: data.map(({ target }) => new Float32Array(target.length)),
    metrics: { loss: 0, tokens: 1 },
  });
  const policy: Policy = {
    ...{ id: 'solver', version: () => updates, close: async () => undefined },
    ...{ forward: (data) => done(pass(data)), forwardBackward: (data) => done(pass(data)) },
    optimStep: () => {
      updates += 1;
      return done({ gradNorm: 1 });
    },
    ...{ publish: () => done(sampler), saveState: () => done(undefined) },
    exportAdapter: async () => undefined,
  };
  return policy;
}

/** A coach that gives the play's task its points; without points it has no score. */
function coachGiving(
  points: Readonly<Record<string, number>>,
): Coach & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    ...{ name: 'points', asked, usage: () => ({ calls: 0, inputTokens: 0, outputTokens: 0 }) },
    score: async ({ task, action: { id: actionId } }) => {
      asked.push(task.id);
      const score = points[task.id];
      if (score === undefined) return { kind: 'unscored', actionId, cause: 'asleep' };
      return { kind: 'scored', actionId, score, reason: '', blame: 'none' };
    },
  };
}

const settings: Settings = {
  ...{ seed: 1, steps: 1, tasksPerStep: 4, samplesPerTask: 1, temperature: 1, concurrency: 4 },
  ...{
    playTimeoutMs: 60_000,
    maxActionTokens: 4,
    maxStalenessSteps: 0,
    maxActions: 8,
    failedShareLimit: 0.25,
    frozen: [],
    gradesEveryAnswer: false,
    coachConcurrency: 4,
    showOutcome: false,
  },
  ...{ unscoredShareLimit: 0.25, logprobGapLimit: 1e-3, learningRateAt: () => 0.1 },
  credit: { credit: 'coach', klCoefficient: 0, gamma: 1, sigmaFloor: 1e-4 },
  update: {
    ...{
      loss: { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 },
      average: 'token',
      behaviourRatioLimit: 2,
    },
    ...{ epochs: 1, miniBatches: 1 },
    adam: { learningRate: 0.1, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 },
  },
  evaluation: { every: 0, samplesPerTask: 1, temperature: 1 },
};

function trainingWith(changes: Partial<Training> = {}): Training {
  const silence = () => undefined;
  return {
    ...{ run, team, tokenizer, tasks, heldOut: [], settings, tools: new Map() },
    workspaces: openWorkspaces(join(directory, 'workspaces'), defaultLimits),
    service: {
      createPolicy: async () => policyWith(),
      baseSampler: async () => sampler,
      ...{ counters: () => ({ liveTensors: 5 }), close: async () => undefined },
    },
    ...{ policies: new Map([['solver', policyWith()]]), reference: policyWith() },
    ...{ coach: coachGiving({ a: 1, b: 2, c: 3, d: 10 }), grade: silence },
    watch: { waiting: silence, step: silence, evaluated: silence, note: silence },
    ...changes,
  };
}

test('a step plays its tasks, asks the coach once per action and updates the policy', async () => {
  const coach = coachGiving({ a: 1, b: 2, c: 3, d: 10 });
  const training = trainingWith({ coach });
  const metrics = await mappaStep(training, 1);
  expect(metrics).toMatchObject({ plays: 4, failed: 0, 'score/solver': 4, 'live-tensors': 5 });
  expect(coach.asked.toSorted()).toEqual(['a', 'b', 'c', 'd']);
  expect(training.policies.get('solver')?.version()).toBe(1);
});

test('a step leaves nothing behind on a signal that lasts as long as the run', async () => {
  const { signal } = new AbortController();
  const training = trainingWith();
  const at = { step: 1, staleness: 0, samplers: new Map([['solver', sampler]]), signal };
  let during = 0;
  const watch = {
    ...training.watch,
    waiting: () => {
      during = Math.max(during, getEventListeners(signal, 'abort').length);
    },
  };
  const ahead: PlaysAhead = {
    take: (_, play) => play({ ...training, watch }, at),
    close: async () => undefined,
  };
  await mappaStep({ ...training, ahead }, 1);
  expect(during).toBeGreaterThan(0);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('the reference scores plays that have ended while others are still played and judged', async () => {
  const events: string[] = [];
  const reference = policyWith();
  let sawReference = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    sawReference = resolve;
  });
  const { forward } = reference;
  const noting: Policy = {
    ...reference,
    forward: (data) => {
      events.push(`reference of ${data.length}`);
      sawReference();
      return forward(data);
    },
  };
  let plays = 0;
  const slow: typeof team = {
    ...team,
    play: async (...[task, agents, scene]: Parameters<typeof team.play>) => {
      const isLast = ++plays === 12;
      // Would wait for ever, were the reference asked at the end.
      if (isLast) await asked;
      const answer = await team.play(task, agents, scene);
      if (isLast) events.push('the last play');
      return answer;
    },
  };
  const coach = coachGiving({ a: 1, b: 2, c: 3, d: 10 });
  const own = { ...settings, samplesPerTask: 3, concurrency: 12, playTimeoutMs: 5000 };
  const training = trainingWith({ coach, reference: noting, team: slow, settings: own });
  expect(await mappaStep(training, 1)).toMatchObject({ plays: 12, failed: 0 });
  expect(events).toEqual(['reference of 8', 'the last play', 'reference of 4']);
  expect(run.rescores.referencesOf(1).size).toBe(12);
});

test('one unscored action in four is left out, two stop the run before anything is updated', async () => {
  const one = trainingWith({ coach: coachGiving({ a: 1, b: 2, c: 3 }) });
  expect(await mappaStep(one, 1)).toMatchObject({ 'score/solver': 2 });
  const two = trainingWith({ coach: coachGiving({ a: 1, b: 2 }) });
  await expect(mappaStep(two, 2)).rejects.toThrow(
    'left 2 of 4 actions without a score (coaching.unscoredShareLimit is 0.25); for example: asleep',
  );
  expect(two.policies.get('solver')?.version()).toBe(0);
});

test('a run that stopped for want of scores goes on with a mended coach, who is asked for the rest only', async () => {
  await expect(mappaStep(trainingWith({ coach: coachGiving({ a: 1 }) }), 1)).rejects.toThrow();
  const coach = coachGiving({ b: 2, c: 3, d: 10 });
  expect(await mappaStep(trainingWith({ coach }), 1)).toMatchObject({ 'score/solver': 4 });
  expect(coach.asked.toSorted()).toEqual(['b', 'c', 'd']);
});

test('the step in which the coach’s budget ends, and every later one, goes by the outcome', async () => {
  const notes: string[] = [];
  let left = 2;
  const coach: Coach = {
    ...coachGiving({ a: 1, b: 2, c: 3, d: 10 }),
    isSpent: () => left === 0,
    score: async ({ action: { id: actionId } }) => {
      if (left === 0) return { kind: 'unscored', actionId, cause: 'the budget is spent' };
      left -= 1;
      return { kind: 'scored', actionId, score: 5, reason: '', blame: 'none' };
    },
  };
  const watch = { ...trainingWith().watch, note: (text: string) => void notes.push(text) };
  const grade: Training['grade'] = ({ id }, { id: trajectoryId }) => ({
    trajectoryId,
    correct: id === 'a',
  });
  const training = trainingWith({ coach, watch, grade });
  const first = await mappaStep(training, 1);
  expect(first).toMatchObject({ 'outcome-credit': 1, 'reward/solver': 0.25, 'unscored/solver': 0 });
  expect(first['unscored-share']).toBe(0.5);
  // A run that is killed before the step is complete does it again, and as it was.
  const again = await mappaStep(training, 1);
  expect(again).toMatchObject({ 'outcome-credit': 1, 'unscored-share': 0.5, 'score/solver': 5 });
  const second = await mappaStep(training, 2);
  expect(second).toMatchObject({ 'outcome-credit': 1, 'reward/solver': 0.25 });
  expect(second).not.toHaveProperty('unscored-share');
  expect(notes.filter((note) => note.includes('budget is spent: from step 1 on'))).toHaveLength(2);
});

test('plays that are graded by their files keep their grade when the step is gone on with: the files are gone', async () => {
  const coach = coachGiving({ a: 1, b: 2, c: 3, d: 10 });
  const seen: string[] = [];
  const gradeFiles: Training['gradeFiles'] = async ({ id }, { id: trajectoryId }, files) => {
    seen.push(`${id} with ${(await files?.list())?.map(({ path }) => path)}`);
    return { trajectoryId, correct: id !== 'b', measures: { 'fair-accuracy': 0.5 } };
  };
  const files = { 'recipes.py': join(import.meta.dirname, 'mappa.test.ts') };
  const given = tasks.map((task) => ({ ...task, files }));
  const first = await mappaStep(trainingWith({ coach, gradeFiles, tasks: given }), 1);
  expect(first.accuracy).toBe(0.75);
  expect(seen.toSorted()).toEqual(['a', 'b', 'c', 'd'].map((id) => `${id} with recipes.py`));
  const again = await mappaStep(trainingWith({ coach, gradeFiles, tasks: given }), 1);
  expect(again.accuracy).toBe(0.75);
  expect(seen).toHaveLength(4);
  expect([...run.outcomesOf(1).values()][0]?.measures).toEqual({ 'fair-accuracy': 0.5 });
});

test('what an interrupted step had left unscored stays so when it is gone on with', async () => {
  const silentOnA = trainingWith({ coach: coachGiving({ b: 2, c: 3, d: 10 }) });
  const before = await mappaStep(silentOnA, 1);
  const coach = coachGiving({ a: 1, b: 2, c: 3, d: 10 });
  const again = await mappaStep(trainingWith({ coach }), 1);
  expect(coach.asked).toEqual([]);
  expect(again['score/solver']).toBe(before['score/solver']);
});

test('a failed play in four is counted and not trained on, two stop the run with the first cause', async () => {
  const coach = coachGiving({ a: 1, b: 2, c: 3, d: 10 });
  const one = trainingWith({ coach, team: teamFailingOn('a') });
  expect(await mappaStep(one, 1)).toMatchObject({ plays: 4, failed: 1, 'score/solver': 5 });
  expect(coach.asked).not.toContain('a');
  const two = mappaStep(trainingWith({ team: teamFailingOn('a', 'b') }), 2);
  await expect(two).rejects.toThrow(
    /2 of 4 plays failed \(rollout.failedShareLimit is 0.25\); the first with play: cannot play [ab]/,
  );
});

test('plays of a refused step are played again once mended; a failure that was accepted stays one', async () => {
  await expect(mappaStep(trainingWith({ team: teamFailingOn('a', 'b') }), 1)).rejects.toThrow();
  expect(await mappaStep(trainingWith(), 1)).toMatchObject({ plays: 4, failed: 0 });
  expect(run.trajectoriesOf(1).filter(({ failure }) => failure)).toEqual([]);
  await mappaStep(trainingWith({ team: teamFailingOn('a') }), 2);
  expect(await mappaStep(trainingWith(), 2)).toMatchObject({ failed: 1 });
});

test('a trainer that disagrees with the sampler stops the run, at whatever step', async () => {
  const policies = new Map([['solver', policyWith(-1.5)]]);
  await expect(mappaStep(trainingWith({ policies }), 3)).rejects.toThrow(
    'differ by up to 5.0e-1 nats, the limit is 0.001',
  );
  expect(policies.get('solver')?.version()).toBe(0);
});

const duo = defineTeam({
  name: 'duo',
  agents: { solver: { role: 'Solver', maxTokens: 4 }, checker: { role: 'Checker', maxTokens: 4 } },
  play: async ({ prompt }, { solver, checker }) => {
    await solver.act(prompt);
    return (await checker.act(prompt)).text;
  },
});

test('equal scores leave the policy where it is, its optimiser included', async () => {
  const training = trainingWith({ coach: coachGiving({ a: 5, b: 5, c: 5, d: 5 }) });
  expect(await mappaStep(training, 1)).toMatchObject({
    ...{ 'uniform/solver': 1, 'optimizer-steps/solver': 0 },
  });
  expect(training.policies.get('solver')?.version()).toBe(0);
});

test('a policy that agents share takes one update, on the actions of all of them', async () => {
  const shared = { ...policyWith(), id: 'shared' };
  const policies = new Map([
    ['solver', shared],
    ['checker', shared],
  ]);
  const metrics = await mappaStep(trainingWith({ team: duo, policies }), 1);
  expect(shared.version()).toBe(1);
  expect(metrics).toMatchObject({ 'score/solver': 4, 'score/checker': 4, 'loss/shared': 0 });
  expect(metrics).not.toHaveProperty('loss/solver');
});

test('a frozen agent plays and is scored, and its policy is not updated', async () => {
  const [solver, checker] = [policyWith(), { ...policyWith(), id: 'checker' }];
  const policies = new Map([
    ['solver', solver],
    ['checker', checker],
  ]);
  const frozen = { ...settings, frozen: ['checker'] };
  const metrics = await mappaStep(trainingWith({ team: duo, policies, settings: frozen }), 1);
  expect([solver.version(), checker.version()]).toEqual([1, 0]);
  expect(metrics).toMatchObject({ 'score/checker': 4, 'loss/solver': 0 });
  expect(metrics).not.toHaveProperty('loss/checker');
});

test('with generalised advantages the critic is asked for its values and learns beside the policy', async () => {
  const metricsWith = async (update: Settings['update']) => {
    const credit = { ...settings.credit, estimator: 'gae' } as const;
    return mappaStep(trainingWith({ settings: { ...settings, credit, update } }), 1);
  };
  const critic = { coefficient: 0.1, clip: 0.2 };
  expect((await metricsWith({ ...settings.update, critic }))['value-loss/solver']).toBe(0);
  await expect(metricsWith(settings.update)).rejects.toThrow(/needs the values of a critic/);
});
