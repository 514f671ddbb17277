import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { charactersOf, characterTokenizer } from '../../test/support/scripted-play.ts';
import { BoundaryError } from '../errors.ts';
import { defineTeam } from '../rollout/team.ts';
import { openRun, type Run } from '../run/run-store.ts';
import { defaultLimits } from '../sandbox/limits.ts';
import { openWorkspaces } from '../sandbox/workspaces.ts';
import type { Policy, Sampler } from '../types/training-service.ts';
import type { Action } from '../types/trajectory.ts';
import { playBranches } from './branch.ts';
import { chooseBranches } from './choose-branches.ts';
import type { Training } from './training.ts';

let directory: string;
let source: Run;
let record: Run;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'teamtune-branch-'));
  source = openRun(join(directory, 'run'), { mode: 'create' });
  record = openRun(join(directory, 'record'), { mode: 'create' });
});
afterEach(() => {
  source.close();
  record.close();
  rmSync(directory, { recursive: true, force: true });
});

const team = defineTeam({
  name: 'two',
  agents: { solver: { role: 'Solver', maxTokens: 9 }, checker: { role: 'Checker', maxTokens: 9 } },
  play: async ({ prompt }, { solver, checker }) => {
    const draft = await solver.act(prompt);
    return (await checker.act(`check ${draft.text}`)).text;
  },
});

/** One completed step: the solver wrote `old` and got 3 points, the checker made 7 of it and got 10. */
function recordPlay({ answer, changes = {} }: { answer?: string; changes?: Partial<Action> } = {}) {
  source.rescores.recordTasks([{ id: 't', prompt: '3 + 4?', ...(answer && { answer }) }]);
  const solver = sampleAction('1/t/0/solver.0.0', {
    ...{ agent: 'solver', turn: 0, text: 'old', observation: charactersOf('3 + 4?') },
    ...{ tokens: Int32Array.of(1, 2, 0), ...changes },
  });
  const checker = sampleAction('1/t/0/checker.0.0', {
    ...{ agent: 'checker', turn: 1, text: '7', parent: solver.id },
    observation: charactersOf('check old'),
  });
  const actions = [solver, checker];
  for (const [at, action] of actions.entries()) {
    source.recordAction(1, action);
    const verdict = { kind: 'scored', actionId: action.id, reason: 'r', blame: 'none' } as const;
    source.recordFeedback({ ...verdict, score: [3, 10][at] as number });
  }
  source.recordTrajectory(1, { id: '1/t/0', taskId: 't', sample: 0, actions, answer: '7' });
  source.completeStep(1, 'step-000001');
}

/** The solver writes `new`; the checker answers 7 to what it is to check, and to `new` as often 0 as 7. */
function createPolicies({ callsUntilKilled = Number.POSITIVE_INFINITY } = {}) {
  const calls = { solver: 0, checker: 0, new: 0, left: callsUntilKilled };
  const samplerOf = (agent: 'solver' | 'checker'): Sampler => ({
    ...{ policyId: agent, version: 2, logprobs: async () => new Float32Array() },
    sample: async (observation) => {
      if (calls.left-- <= 0) throw new BoundaryError('run', 'killed');
      calls[agent] += 1;
      const isNew = characterTokenizer.decode(observation) === 'check new';
      const text = agent === 'solver' ? 'new' : isNew && calls.new++ % 2 === 1 ? '0' : '7';
      const tokens = Int32Array.from([...charactersOf(text), 0]);
      return { tokens, logprobs: new Float32Array(tokens.length), stop: 'stop', version: 2 };
    },
  });
  const policyOf = (agent: 'solver' | 'checker') =>
    ({
      publish: () => ({ submitted: Promise.resolve(), result: Promise.resolve(samplerOf(agent)) }),
    }) as Pick<Policy, 'publish'> as Policy;
  const policies = new Map([
    ['solver', policyOf('solver')],
    ['checker', policyOf('checker')],
  ]);
  return { calls, policies };
}

function trainingWith(policies: Training['policies'], changes: Partial<Training> = {}): Training {
  const silence = () => undefined;
  const settings = {
    ...{ seed: 1, temperature: 1, concurrency: 1, playTimeoutMs: 60_000, maxActionTokens: 9 },
    ...{ maxActions: 8, failedShareLimit: 0.25, coachConcurrency: 1, showOutcome: false },
  };
  const parts: Partial<Training> = {
    ...{ run: record, team, tokenizer: characterTokenizer, policies, tools: new Map() },
    workspaces: openWorkspaces(join(directory, 'workspaces'), defaultLimits),
    grade: ({ answer: truth }, { id, answer }) => ({ trajectoryId: id, correct: answer === truth }),
    settings: settings as Training['settings'],
    watch: { waiting: silence, step: silence, evaluated: silence, note: silence },
  };
  return { ...parts, ...changes } as Training;
}

const choice = { step: 1, sample: 50 };
const options = { step: 1, leaves: 4 };

test('what follows from an action is played anew from it and from before it, and graded', async () => {
  recordPlay({ answer: '7' });
  const { policies, calls } = createPolicies();
  const chosen = chooseBranches(source, choice);
  const { actions } = await playBranches(trainingWith(policies), source, chosen, options);
  expect(chosen.scored).toBe(2);
  const [solver, checker] = ['solver', 'checker'].map((agent) =>
    actions.find((action) => action.agent === agent),
  );
  // From the task on, `new` is checked right twice of four; from `old` on always.
  expect(solver).toMatchObject({ score: 3, isLast: false });
  expect(solver?.before).toMatchObject({ value: 0.5, right: 2, graded: 4, failed: 0 });
  expect(solver?.after).toMatchObject({ value: 1, right: 4, graded: 4, failed: 0 });
  // Before the checker is after the solver, which is played once for both; after it nothing is played.
  expect(checker?.before).toEqual(solver?.after);
  expect(checker).toMatchObject({ score: 10, isLast: true });
  expect(checker?.after).toMatchObject({ value: 1, graded: 1 });
  expect(calls).toMatchObject({ solver: 4, checker: 8 });
});

test('replayed actions keep their tokens and log-probabilities, and the finished run its records', async () => {
  recordPlay({ answer: '7' });
  const before = [source.actionsOf(1), source.trajectoriesOf(1), source.feedbackOf(1)];
  const { policies } = createPolicies();
  const chosen = chooseBranches(source, choice);
  await playBranches(trainingWith(policies), source, chosen, options);
  expect([source.actionsOf(1), source.trajectoriesOf(1), source.feedbackOf(1)]).toEqual(before);
  const replayed = record.actionsOf('branch:1').filter(({ text }) => text === 'old');
  const original = source.actionsOf(1).find(({ agent }) => agent === 'solver') as Action;
  // Four leaves after the solver and the one at the end.
  expect(replayed).toHaveLength(5);
  for (const { id, ...rest } of replayed) expect({ ...rest, id: original.id }).toEqual(original);
});

test('interrupted, it goes on where it stopped, and comes to the same', async () => {
  recordPlay({ answer: '7' });
  const chosen = chooseBranches(source, choice);
  const { policies, calls } = createPolicies({ callsUntilKilled: 5 });
  const training = trainingWith(policies);
  await expect(playBranches(training, source, chosen, options)).rejects.toThrow('killed');
  calls.left = Number.POSITIVE_INFINITY;
  const resumed = await playBranches(training, source, chosen, options);
  expect(calls).toMatchObject({ solver: 4, checker: 8 });
  const again = await playBranches(training, source, chosen, options);
  expect(again).toEqual(resumed);
  expect(calls).toMatchObject({ solver: 4, checker: 8 });
  expect(resumed.actions.find(({ agent }) => agent === 'solver')?.before.value).toBe(0.5);
});

test('leaves that break count for nothing, and are told', async () => {
  recordPlay({ answer: '7' });
  const { policies } = createPolicies();
  let plays = 0;
  const failing = defineTeam({
    ...team,
    play: async (...[task, agents, scene]: Parameters<typeof team.play>) => {
      const answer = await team.play(task, agents, scene);
      // Never the leaf at the play's end: whichever action was drawn first, four others are played before it.
      if (++plays === 2) throw new Error('broke');
      return answer;
    },
  });
  const chosen = chooseBranches(source, choice);
  const training = trainingWith(policies, { team: failing });
  const { actions } = await playBranches(training, source, chosen, options);
  const solver = actions.find(({ agent }) => agent === 'solver');
  const failed = [solver?.before, solver?.after].map((value) => value?.failed);
  expect(failed.toSorted()).toEqual([0, 1]);
  expect([solver?.before, solver?.after].map((value) => value?.graded).toSorted()).toEqual([3, 4]);
});

test('leaves that do not go through what they were to replay count for nothing', async () => {
  recordPlay({ answer: '7' });
  const { policies } = createPolicies();
  const straying = defineTeam({
    ...team,
    play: async (_, { checker }) => (await checker.act('check old')).text,
  });
  const chosen = chooseBranches(source, choice);
  const training = trainingWith(policies, { team: straying });
  const { actions } = await playBranches(training, source, chosen, options);
  const solver = actions.find(({ agent }) => agent === 'solver');
  expect(solver?.after).toEqual({ right: 0, graded: 0, failed: 4 });
});

test('agents who act at the same time branch too: those who had not ended their turn are played anew', async () => {
  const pair = defineTeam({
    ...team,
    play: async ({ prompt }, { solver, checker }) => {
      const said = await Promise.all([solver.act(prompt), checker.act('check old')]);
      return said.map(({ text }) => text).join(' ');
    },
  });
  recordPlay({ answer: 'old 7' });
  const { policies } = createPolicies();
  const chosen = chooseBranches(source, choice);
  const training = trainingWith(policies, { team: pair });
  const { actions } = await playBranches(training, source, chosen, options);
  const solver = actions.find(({ agent }) => agent === 'solver');
  // `new 7` against `old 7`.
  expect([solver?.before.value, solver?.after.value]).toEqual([0, 1]);
});

test('a team that now asks its agents something else is refused', async () => {
  recordPlay({ answer: '7', changes: { observation: charactersOf('3 + 5?') } });
  const chosen = chooseBranches(source, choice);
  const training = trainingWith(createPolicies().policies);
  await expect(playBranches(training, source, chosen, options)).rejects.toThrow(
    'was recorded with another observation than the play now produces',
  );
});

test('the same actions are drawn every time', () => {
  recordPlay({ answer: '7' });
  const drawn = () => chooseBranches(source, choice).candidates.map(({ action }) => action.id);
  expect(drawn()).toHaveLength(2);
  expect(drawn()).toEqual(drawn());
});

test('a step without scores or without answers is refused in a sentence', () => {
  expect(() => chooseBranches(source, choice)).toThrow('step 1 of');
  recordPlay();
  expect(() => chooseBranches(source, { ...choice, label: 'x' })).toThrow(
    'has no scored action of "x"',
  );
  expect(() => chooseBranches(source, choice)).toThrow('no task of step 1');
});
