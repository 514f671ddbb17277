import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import {
  charactersOf,
  characterTokenizer,
  playScripted,
} from '../../test/support/scripted-play.ts';
import { BoundaryError } from '../errors.ts';
import { defineTeam } from '../rollout/team.ts';
import { openRun, type Run } from '../run/run-store.ts';
import { defaultLimits } from '../sandbox/limits.ts';
import { createPythonSandbox } from '../sandbox/python-sandbox.ts';
import { openWorkspaces } from '../sandbox/workspaces.ts';
import { createPythonTool } from '../tools/python-tool.ts';
import type { Workspaces } from '../types/sandbox.ts';
import type { Tool } from '../types/tool.ts';
import type { Policy, Sampler } from '../types/training-service.ts';
import { playBranches } from './branch.ts';
import { chooseBranches } from './choose-branches.ts';
import type { Training } from './training.ts';

const sandbox = createPythonSandbox();
const python = createPythonTool(sandbox);
let directory: string;
let source: Run;
let record: Run;
let workspaces: Workspaces;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'teamtune-rebuild-'));
  source = openRun(join(directory, 'run'), { mode: 'create' });
  record = openRun(join(directory, 'record'), { mode: 'create' });
  workspaces = openWorkspaces(join(directory, 'workspaces'), defaultLimits);
});
afterEach(() => {
  source.close();
  record.close();
  rmSync(directory, { recursive: true, force: true });
});
afterAll(() => sandbox.close());

const agent = { role: 'Agent', maxTokens: 200, tools: ['python'] };

/** The writer leaves a file, the reader prints it. */
const team = defineTeam({
  name: 'files',
  agents: { writer: agent, reader: agent },
  play: async ({ prompt }, { writer, reader }) => {
    await writer.act(prompt);
    return (await reader.act('read')).toolOutput ?? '';
  },
});

const program = (code: string) => `\`\`\`python\n${code}\n\`\`\``;
const writing = (text: string) => program(`open("x", "w").write("${text}")`);
const clock = program('import time\nopen("x", "w").write(str(time.time_ns()))');
const reading = program('print(open("x").read(), end="")');

/** Completes a step with one play of each task, in which its writer said this; every action got 5 points. */
async function recordPlays(said: Readonly<Record<string, string>>): Promise<void> {
  for (const [id, text] of Object.entries(said)) {
    const task = { id, prompt: 'write', answer: 'old' };
    source.rescores.recordTasks([task]);
    const scripts = { writer: [text], reader: [reading] };
    const play = await playScripted({ sandbox, workspaces }, { team, task, scripts });
    for (const action of play.actions) {
      source.recordAction(1, action);
      const verdict = { kind: 'scored', score: 5, reason: 'r', blame: 'none' } as const;
      source.recordFeedback({ ...verdict, actionId: action.id });
    }
    source.recordTrajectory(1, play);
  }
  source.completeStep(1, 'step-000001');
}

/** The writer now writes `new`. */
function createPolicies({ callsUntilKilled = Number.POSITIVE_INFINITY } = {}) {
  let left = callsUntilKilled;
  const samplerOf = (text: string): Sampler => ({
    ...{ policyId: 'p', version: 2, logprobs: async () => new Float32Array() },
    sample: async () => {
      if (left-- <= 0) throw new BoundaryError('run', 'killed');
      const tokens = Int32Array.from([...charactersOf(text), 0]);
      return { tokens, logprobs: new Float32Array(tokens.length), stop: 'stop', version: 2 };
    },
  });
  const policyOf = (text: string) =>
    ({
      publish: () => ({
        submitted: Promise.resolve(),
        result: Promise.resolve(samplerOf(text)),
      }),
    }) as Pick<Policy, 'publish'> as Policy;
  return new Map([
    ['writer', policyOf(writing('new'))],
    ['reader', policyOf(reading)],
  ]);
}

function trainingWith(changes: Partial<Training> = {}): Training {
  const silence = () => undefined;
  const settings = {
    ...{ seed: 1, temperature: 1, concurrency: 2, playTimeoutMs: 60_000, maxActionTokens: 200 },
    ...{ maxActions: 8, failedShareLimit: 0, coachConcurrency: 1, showOutcome: false },
  };
  const parts: Partial<Training> = {
    ...{ run: record, team, tokenizer: characterTokenizer, policies: createPolicies() },
    ...{ tools: new Map([['python', python]]), workspaces },
    grade: ({ answer: truth }, { id, answer }) => ({ trajectoryId: id, correct: answer === truth }),
    settings: settings as Training['settings'],
    watch: { waiting: silence, step: silence, evaluated: silence, note: silence },
  };
  return { ...parts, ...changes } as Training;
}

/** Python that notes which programs it was given; with `spoil` it gives another output than it should. */
function notingPython({ spoil = false } = {}): Tool & { readonly inputs: string[] } {
  const inputs: string[] = [];
  return {
    ...python,
    inputs,
    run: async (input, options) => {
      inputs.push(input);
      const result = await python.run(input, options);
      return spoil && input.includes('old') ? { ...result, output: 'spoilt' } : result;
    },
  };
}

const choice = { step: 1, sample: 50 };
const options = { step: 1, leaves: 3 };

test('what branches from an action finds the files that it left, made again once for all its leaves', async () => {
  await recordPlays({ t: writing('old') });
  const noting = notingPython();
  const training = trainingWith({ tools: new Map([['python', noting]]) });
  const chosen = chooseBranches(source, choice);
  const { actions, obstacles } = await playBranches(training, source, chosen, options);
  expect(obstacles).toEqual([]);
  const [writer, reader] = ['writer', 'reader'].map((name) =>
    actions.find((action) => action.agent === name),
  );
  // From the task on, the reader finds `new`; after the recorded writer it finds `old`, which is right.
  expect(writer?.before).toMatchObject({ value: 0, right: 0, graded: 3 });
  expect(writer?.after).toMatchObject({ value: 1, right: 3, graded: 3 });
  expect(reader?.after).toMatchObject({ value: 1, graded: 1 });
  expect(noting.inputs.filter((input) => input.includes('old'))).toHaveLength(1);
  await workspaces.close();
  expect(existsSync(join(directory, 'workspaces'))).toBe(false);
});

test('where the files come out otherwise, actions that need them are left out and others are drawn', async () => {
  await recordPlays({ t: writing('old'), u: clock });
  const draw = async (sample: number) => {
    const chosen = chooseBranches(source, { step: 1, sample });
    return playBranches(trainingWith(), source, chosen, options);
  };
  const { actions, obstacles } = await draw(50);
  expect(actions.map(({ taskId }) => taskId)).toEqual(['t', 't']);
  const reason = 'run again, python wrote something else into x than it had, of the same length';
  expect(obstacles).toEqual([{ actionId: '1/u/0/writer.0.0', reason, actions: 2 }]);
  expect(await draw(2)).toMatchObject({ actions });
  await expect(draw(1)).resolves.toMatchObject({ actions: [actions[0]] });
});

test('a step all of whose actions need files that cannot be made again is refused in a sentence', async () => {
  await recordPlays({ u: clock });
  const chosen = chooseBranches(source, choice);
  await expect(playBranches(trainingWith(), source, chosen, options)).rejects.toThrow(
    'those cannot be made again: they cannot be branched from (the first: 1/u/0/writer.0.0: run again, python wrote',
  );
});

test('interrupted, it makes no file again, whatever the programs would do now, and comes to the same', async () => {
  await recordPlays({ t: writing('old'), u: clock });
  const chosen = chooseBranches(source, choice);
  const whole = await playBranches(trainingWith(), source, chosen, options);
  record.close();
  record = openRun(join(directory, 'killed'), { mode: 'create' });
  const policies = createPolicies({ callsUntilKilled: 4 });
  const killed = playBranches(trainingWith({ policies }), source, chosen, options);
  await expect(killed).rejects.toThrow('killed');
  const noting = notingPython({ spoil: true });
  const training = trainingWith({ tools: new Map([['python', noting]]) });
  expect(await playBranches(training, source, chosen, options)).toEqual(whole);
  expect(noting.inputs.filter((input) => /old|time_ns/.test(input))).toEqual([]);
});
