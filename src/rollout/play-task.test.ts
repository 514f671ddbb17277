import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defaultLimits } from '../sandbox/limits.ts';
import { createPythonSandbox } from '../sandbox/python-sandbox.ts';
import { openWorkspaces } from '../sandbox/workspaces.ts';
import { buildTokenizerFiles, writeTokenizerFiles } from '../tokenizer/build-tokenizer.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { defineTool } from '../tools/define-tool.ts';
import { createPythonTool } from '../tools/python-tool.ts';
import type { Workspaces } from '../types/sandbox.ts';
import type { Tool, ToolResult } from '../types/tool.ts';
import type { Sampler } from '../types/training-service.ts';
import type { Action } from '../types/trajectory.ts';
import { playTask, type Stage } from './play-task.ts';
import { defineTeam, type Team } from './team.ts';

const task = { id: 't', prompt: 'What is 1 + 1?' };
let tokenizer: Tokenizer;
let workspaces: Workspaces;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-play-'));
  await writeTokenizerFiles(folder, buildTokenizerFiles({ words: [] }));
  tokenizer = await loadTokenizer(folder);
  workspaces = openWorkspaces(join(folder, 'workspaces'), defaultLimits);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A policy that says its lines in order, and what it was conditioned on. */
function scripted(
  lines: readonly string[],
): Sampler & { readonly heard: Int32Array[]; readonly seeds: number[] } {
  const heard: Int32Array[] = [];
  const seeds: number[] = [];
  return {
    policyId: 'scripted',
    version: 3,
    heard,
    seeds,
    sample: async (prompt, { seed }) => {
      const text = lines[heard.length] ?? 'no more lines';
      heard.push(prompt);
      seeds.push(seed);
      const end = tokenizer.eosTokenIds[0] as number;
      const tokens = Int32Array.from([...tokenizer.encode(text), end]);
      return { tokens, logprobs: new Float32Array(tokens.length), stop: 'stop', version: 3 };
    },
    logprobs: async (tokens) => new Float32Array(tokens.length),
  };
}

/** A policy that waits until it is told to stop. */
const silent: Sampler = {
  ...{ policyId: 'silent', version: 0, logprobs: async () => new Float32Array() },
  sample: (_prompt, _params, options) =>
    new Promise((_, reject) => {
      options?.signal?.addEventListener('abort', () => reject(options.signal?.reason));
    }),
};

function pythonThat(result: Partial<ToolResult>): Tool & { readonly inputs: string[] } {
  const inputs: string[] = [];
  const whole = { tool: 'python', status: 'ok', output: '2', durationMs: 1, ...result } as const;
  return {
    ...{ name: 'python', inputs, close: async () => undefined },
    run: async (input) => {
      inputs.push(input);
      return whole;
    },
  };
}

function stageOf(
  team: Team,
  samplers: Readonly<Record<string, Sampler>>,
  changes: Partial<Stage> = {},
): Stage & { readonly recorded: Action[] } {
  const recorded: Action[] = [];
  return {
    ...{ team, tokenizer, workspaces, recorded, seed: 1, scope: '7', temperature: 1 },
    ...{
      playTimeoutMs: 60_000,
      maxActionTokens: 64,
      maxActions: 16,
      finished: new Map(),
      tools: new Map(),
    },
    ...{ stop: new AbortController().signal, samplers: new Map(Object.entries(samplers)) },
    onAction: (action) => recorded.push(action),
    verdictOn: async () => undefined,
    ...changes,
  };
}

const code = '```python\nprint(1 + 1)\n```';
const executor = { role: 'Executor', maxTokens: 32, tools: ['python'], maxTurns: 2 };
const alone = defineTeam({
  name: 'alone',
  agents: { executor },
  play: async ({ prompt }, agents) => (await agents.executor.act(prompt)).text,
});
const pair = { first: { role: 'First', maxTokens: 8 }, second: { role: 'Second', maxTokens: 8 } };

describe('a conversation', () => {
  test('goes on from the sampled ids, and a tool’s output follows them', async () => {
    const policy = scripted([code, 'It is 2.']);
    const tool = pythonThat({});
    const stage = stageOf(alone, { executor: policy }, { tools: new Map([['python', tool]]) });
    const { actions, answer, failure } = await playTask(stage, task, 0);
    expect(failure).toBeUndefined();
    expect(answer).toBe('It is 2.');
    expect(tool.inputs).toEqual(['print(1 + 1)']);
    const [asked, reported] = actions as [Action, Action];
    const kept = [...asked.observation, ...asked.tokens];
    expect([...reported.observation.subarray(0, kept.length)]).toEqual(kept);
    expect(tokenizer.decode(reported.observation.subarray(kept.length))).toContain('2');
    expect(asked.text).toBe(code);
    expect(reported.parent).toBe(asked.id);
    expect(policy.seeds[0]).not.toBe(policy.seeds[1]);
  });

  test('starts anew with every act, unless it is to be continued', async () => {
    const team = defineTeam({
      name: 'thrice',
      agents: { only: { role: 'Only', maxTokens: 8, instructions: 'Be brief.' } },
      play: async (_task, { only }) => {
        await only.act('one');
        await only.act('two');
        return (await only.act('three', { continue: true })).text;
      },
    });
    const stage = stageOf(team, { only: scripted(['A', 'B', 'C']) });
    const { actions } = await playTask(stage, task, 0);
    const seen = actions.map(({ observationText }) => observationText);
    expect(seen.every((text) => text.includes('Be brief.'))).toBe(true);
    expect(seen[1]).not.toContain('one');
    expect(seen[2]).toMatch(/two.*B.*three/s);
  });
});

describe('a tool that describes itself', () => {
  const add = defineTool({
    name: 'add',
    description: 'Adds two numbers.',
    input: z.object({ a: z.number(), b: z.number() }),
    run: ({ a, b }) => a + b,
  });
  const team = defineTeam({
    name: 'adding',
    agents: {
      only: { role: 'Only', maxTokens: 64, maxTurns: 2, tools: ['add'], instructions: 'Be brief.' },
    },
    play: async ({ prompt }, { only }) => (await only.act(prompt)).text,
  });
  const call = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 1}}</tool_call>';
  const tools = new Map([['add', add]]);

  test('is told of in the instructions where the chat template takes no tools, and called', async () => {
    const stage = stageOf(team, { only: scripted([call, 'It is 2.']) }, { tools });
    const { actions, answer } = await playTask(stage, task, 0);
    expect(answer).toBe('It is 2.');
    expect(actions[0]?.observationText).toMatch(/Be brief\..*"name":"add".*<tool_call>/s);
    expect(actions[0]?.toolResults).toMatchObject([{ tool: 'add', status: 'ok', output: '2' }]);
  });

  test('is told of by the chat template where that takes tools', async () => {
    const place = join(folder, 'taking-tools');
    const chatTemplate =
      'TOOLS:{{ tools | tojson }}{% for message in messages %}{{ message.content }}{% endfor %}';
    await writeTokenizerFiles(place, buildTokenizerFiles({ words: [], chatTemplate }));
    const taking = await loadTokenizer(place);
    const stage = stageOf(team, { only: scripted(['Two.']) }, { tools, tokenizer: taking });
    const { actions } = await playTask(stage, task, 0);
    expect(actions[0]?.observationText).toMatch(/^TOOLS:.*"Adds two numbers\."((?!You may).)*$/s);
  });
});

describe('an interrupted play', () => {
  test('takes finished actions as they are and plays only the rest', async () => {
    const tools = new Map([['python', pythonThat({})]]);
    const before = stageOf(alone, { executor: scripted([code, 'It is 2.']) }, { tools });
    const whole = await playTask(before, task, 0);
    const finished = new Map([[whole.actions[0]?.id ?? '', whole.actions[0] as Action]]);
    const policy = scripted(['It is 2.']);
    const after = stageOf(alone, { executor: policy }, { tools, finished });
    expect(await playTask(after, task, 0)).toEqual(whole);
    expect(policy.heard).toHaveLength(1);
    expect(after.recorded.map(({ turn }) => turn)).toEqual([1]);
  });

  test('finds the files of its finished actions, and its programs are not run again', async () => {
    const writing = '```python\nopen("x.txt", "w").write("kept")\n```';
    const reading = '```python\nprint(open("x.txt").read())\n```';
    const team = defineTeam({
      name: 'filing',
      agents: { first: executor, second: executor },
      play: async (_task, { first, second }, { files }) => {
        await first.act('write');
        const names = (await files.list()).map(({ path }) => path);
        const { toolOutput } = await second.act(`read ${names}`);
        return `${toolOutput}`;
      },
    });
    const sandbox = createPythonSandbox();
    const tools = new Map([['python', createPythonTool(sandbox)]]);
    const lines = () => ({
      first: scripted([writing, 'Written.']),
      second: scripted([reading, 'Read.']),
    });
    const filed = { ...task, id: 'filed' };
    const whole = await playTask(stageOf(team, lines(), { tools }), filed, 0);
    expect(whole.answer).toBe('kept');
    expect(whole.actions[0]?.toolResults[0]?.files?.written).toMatchObject([{ bytes: 4 }]);
    const finished = new Map(whole.actions.slice(0, 2).map((action) => [action.id, action]));
    const after = stageOf(team, lines(), { tools, finished });
    const resumed = await playTask(after, filed, 0);
    expect(resumed.answer).toBe('kept');
    expect(after.recorded.map(({ agent }) => agent)).toEqual(['second', 'second']);
    await sandbox.close();
  });

  test('goes on when one agent was asked twice at once and only one of the two came on', async () => {
    const team = defineTeam({
      ...alone,
      play: async (_task, agents) => {
        const both = await Promise.all([agents.executor.act('a'), agents.executor.act('b')]);
        return both.map(({ text }) => text).join(' ');
      },
    });
    const tools = new Map([['python', pythonThat({})]]);
    const lines = [code, code, 'First.', 'Second.'];
    const whole = await playTask(stageOf(team, { executor: scripted(lines) }, { tools }), task, 0);
    expect(whole.actions.map(({ id, turn }) => `${turn} ${id}`)).toEqual(
      ['executor.0.0', 'executor.1.0', 'executor.0.1', 'executor.1.1'].map(
        (id, turn) => `${turn} 7/t/0/${id}`,
      ),
    );
    // All but the second turn of the first conversation had ended.
    const ended = whole.actions.filter((_, turn) => turn !== 2);
    const finished = new Map(ended.map((action) => [action.id, action]));
    const again = stageOf(team, { executor: scripted(['First.']) }, { tools, finished });
    expect(await playTask(again, task, 0)).toEqual(whole);
  });

  test('with another observation than was recorded stops the run', async () => {
    const stage = stageOf(alone, { executor: scripted(['Two.']) });
    const { actions } = await playTask(stage, task, 0);
    const finished = new Map(actions.map((action) => [action.id, action]));
    const changed = { ...task, prompt: 'What is 2 + 2?' };
    const again = stageOf(alone, { executor: scripted([]) }, { finished });
    await expect(playTask(again, changed, 0)).rejects.toThrow('with another observation');
  });
});

describe('a play that breaks is recorded with its cause', () => {
  test('when its own code throws, with the actions until then', async () => {
    const team = defineTeam({
      ...alone,
      play: async (_task, agents) => {
        await agents.executor.act('go');
        throw new Error('my play broke');
      },
    });
    const { failure, actions, answer } = await playTask(
      stageOf(team, { executor: scripted(['Hm.']) }),
      task,
      0,
    );
    expect(failure).toEqual({ boundary: 'play', message: 'my play broke' });
    expect(actions).toHaveLength(1);
    expect(answer).toBeUndefined();
  });

  test('when it never stops asking', async () => {
    const team = defineTeam({
      ...alone,
      play: async (_task, agents) => {
        for (;;) await agents.executor.act('again');
      },
    });
    const stage = stageOf(team, { executor: scripted([]) }, { maxActions: 3 });
    const { failure, actions } = await playTask(stage, task, 0);
    expect(failure).toEqual({
      boundary: 'play',
      message: 'wants more than 3 actions (rollout.maxActions)',
    });
    expect(actions).toHaveLength(3);
  });

  test('when it answers with something that is no text', async () => {
    const team: Team = { ...alone, play: async () => 42 as unknown as string };
    const { failure } = await playTask(stageOf(team, {}), task, 0);
    expect(failure?.message).toBe('play of team alone must resolve to a text, got number');
  });

  test('when a tool is broken on our side, and the agent’s action is not judged', async () => {
    const tools = new Map([
      ['python', pythonThat({ status: 'infrastructure', output: 'no worker' })],
    ]);
    const stage = stageOf(alone, { executor: scripted([code]) }, { tools });
    const { failure } = await playTask(stage, task, 0);
    expect(failure).toEqual({
      boundary: 'tool',
      message: 'python could not run for executor: no worker',
    });
    expect(stage.recorded).toEqual([]);
  });

  test('when the policy, or the play’s own code, is not done in time', async () => {
    const message = 'took longer than 0.02 s (rollout.playTimeoutSeconds)';
    const waiting: Team = { ...alone, play: () => new Promise(() => undefined) };
    for (const team of [alone, waiting]) {
      const stage = stageOf(team, { executor: silent }, { playTimeoutMs: 20 });
      expect((await playTask(stage, task, 0)).failure).toEqual({ boundary: 'play', message });
    }
  });
});

test('a stopped run ends the play without recording it as failed', async () => {
  const stop = new AbortController();
  const stage = stageOf(alone, { executor: silent }, { stop: stop.signal });
  const play = playTask(stage, task, 0);
  stop.abort(new Error('the coach is gone'));
  await expect(play).rejects.toThrow('the coach is gone');
});

test('agents who act at the same time get distinct ids, positions and seeds, in the order of asking', async () => {
  const team = defineTeam({
    name: 'pair',
    agents: pair,
    play: async (_task, { first, second }) => {
      const both = await Promise.all([first.act('go'), second.act('go'), first.act('again')]);
      return both.map(({ text }) => text).join(' ');
    },
  });
  const [one, two] = [scripted(['A', 'C']), scripted(['B'])];
  const late: Sampler = {
    ...one,
    sample: async (...asked) => {
      const sequence = await one.sample(...asked);
      for (let round = 0; round < 20; round++) await Promise.resolve();
      return sequence;
    },
  };
  const { actions, answer } = await playTask(stageOf(team, { first: late, second: two }), task, 4);
  expect(answer).toBe('A B C');
  expect(actions.map(({ id }) => id)).toEqual(
    ['first.0.0', 'second.0.0', 'first.1.0'].map((id) => `7/t/4/${id}`),
  );
  expect(actions.map(({ turn }) => turn)).toEqual([0, 1, 2]);
  expect(new Set(actions.map(({ seed }) => seed)).size).toBe(3);
});

test('an agent that was asked and not waited for records nothing once the play has ended', async () => {
  const team = defineTeam({
    name: 'hasty',
    agents: pair,
    play: async (_task, { first, second }) => {
      void second.act('never mind');
      return (await first.act('go')).text;
    },
  });
  const gate = Promise.withResolvers<void>();
  const quick = scripted(['B']);
  const late: Sampler = {
    ...quick,
    sample: async (...asked) => {
      await gate.promise;
      return quick.sample(...asked);
    },
  };
  const stage = stageOf(team, { first: scripted(['A']), second: late });
  const { actions, answer } = await playTask(stage, task, 0);
  expect(answer).toBe('A');
  expect(actions.map(({ agent }) => agent)).toEqual(['first']);
  gate.resolve();
  await new Promise(setImmediate);
  expect(quick.heard).toHaveLength(1);
  expect(stage.recorded).toHaveLength(1);
});

test('a call of a tool that the agent does not have is answered, not obeyed', async () => {
  const tool = pythonThat({});
  const team = defineTeam({
    ...alone,
    agents: { executor: { ...executor, tools: ['calculator'], maxTurns: 1 } },
  });
  const tools = new Map([['python', tool]]);
  const stage = stageOf(team, { executor: scripted([code]) }, { tools });
  const { actions } = await playTask(stage, task, 0);
  expect(actions[0]?.toolResults[0]).toMatchObject({
    status: 'invalid',
    output: 'there is no tool named python; available: calculator',
  });
  expect(tool.inputs).toEqual([]);
});
