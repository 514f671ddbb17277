import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { defaultLimits } from '../sandbox/limits.ts';
import { createPythonSandbox } from '../sandbox/python-sandbox.ts';
import { openWorkspaces } from '../sandbox/workspaces.ts';
import { createPythonTool } from '../tools/python-tool.ts';
import type { Workspaces } from '../types/sandbox.ts';
import type { Tool, ToolResult } from '../types/tool.ts';
import type { Action } from '../types/trajectory.ts';
import { rebuildFiles } from './rebuild-files.ts';
import { callsInTurn, runCalls } from './run-tools.ts';

const sandbox = createPythonSandbox();
const python = createPythonTool(sandbox);
let folder: string;
let workspaces: Workspaces;
let task: { readonly id: string; readonly prompt: string; readonly files: Record<string, string> };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-rebuild-'));
  await writeFile(join(folder, 'data.csv'), 'a,b\n1,2\n');
  workspaces = openWorkspaces(join(folder, 'workspaces'), defaultLimits);
  task = { id: 't', prompt: '?', files: { 'data.csv': join(folder, 'data.csv') } };
});
afterAll(async () => {
  await sandbox.close();
  await rm(folder, { recursive: true, force: true });
});

/** Python that notes which programs it was given. */
function notingPython(): Tool & { readonly inputs: string[] } {
  const inputs: string[] = [];
  return {
    ...python,
    inputs,
    run: (input, options) => {
      inputs.push(input);
      return python.run(input, options);
    },
  };
}

/** A play whose actions each ran these programs; its files go with it, as those of a finished run. */
async function record(programs: readonly (readonly string[])[]): Promise<Action[]> {
  const workspace = await workspaces.open('1/t/0', task.files);
  const actions: Action[] = [];
  for (const [turn, inputs] of programs.entries()) {
    const actionId = `1/t/0/${turn}`;
    const toolCalls = inputs.map((input) => ({ tool: 'python', input }));
    const toolResults: ToolResult[] = [];
    for (const calls of callsInTurn(toolCalls))
      toolResults.push(
        ...(await runCalls(calls, python, { agent: 'a', allowed: [], actionId, workspace })),
      );
    actions.push(sampleAction(actionId, { toolCalls, toolResults }));
  }
  await workspaces.remove('1/t/0');
  return actions;
}

/** A play of one action that ran one program, with `changes` to what is recorded of it. */
async function recordOne(program: string, changes: Partial<ToolResult> = {}): Promise<Action[]> {
  const actions = await record([[program]]);
  return actions.map((action) => {
    const toolResults = action.toolResults.map((result) => ({ ...result, ...changes }));
    return { ...action, toolResults };
  });
}

function rebuild(actions: readonly Action[], changes = {}) {
  const tools = new Map([['python', python]]);
  const stop = new AbortController().signal;
  const stage = { tools, workspaces, stop, playTimeoutMs: 60_000, ...changes };
  const recorded = { id: 'again', taskId: 't', sample: 0, actions, answer: '7' };
  return rebuildFiles(stage, task, recorded);
}

/** The files as they were after an action, for a play that replays it. */
async function filesAfter({ id }: Action): Promise<Record<string, string>> {
  const workspace = await workspaces.open('reader', task.files);
  await workspace.restore(id, { hadChanges: true, owner: 'again' });
  const files = await workspace.collect('*');
  const texts = [...files].map(([path, content]) => [path, new TextDecoder().decode(content)]);
  return Object.fromEntries(texts);
}

const write = (path: string, text: string) => `open("${path}", "w").write(${JSON.stringify(text)})`;

test('the files of a play are made again as each action left them, and only what changed them is run', async () => {
  const actions = await record([
    ['total = open("data.csv").read()', `${write('x', 'one')}\nopen("y", "w").write(total)`],
    ['print(open("x").read())'],
    [`${write('x', 'two')}\nimport os\nos.remove("y")`],
  ]);
  const noting = notingPython();
  const rebuilt = await rebuild(actions, { tools: new Map([['python', noting]]) });
  expect(rebuilt).toMatchObject({ id: 'again', answer: '7', actions });
  expect(rebuilt.failure).toBeUndefined();
  const [first, , last] = actions as [Action, Action, Action];
  const data = 'a,b\n1,2\n';
  expect(await filesAfter(first)).toEqual({ 'data.csv': data, x: 'one', y: data });
  expect(await filesAfter(last)).toEqual({ 'data.csv': data, x: 'two' });
  // The two programs of the first action are one run of their own.
  expect(noting.inputs).toEqual([last.toolCalls[0]?.input]);
});

describe('a play is made again up to what comes out otherwise than it is recorded', () => {
  const clock = 'import time\nprint("hi")\nopen("x", "w").write(str(time.time_ns()))';

  test('a program that writes what the clock says, though as many bytes', async () => {
    const [before, ...rest] = await record([[write('a', 'b')], [clock], [write('c', 'd')]]);
    const { actions, failure, answer } = await rebuild([before as Action, ...rest]);
    expect(actions).toEqual([before]);
    expect(answer).toBeUndefined();
    const message = 'run again, python wrote something else into x than it had, of the same length';
    expect(failure).toEqual({ boundary: 'tool', message });
  });

  const [one, nothing] = [
    { path: 'x', bytes: 1 },
    { written: [], removed: [] },
  ];
  test.each<[string, Partial<ToolResult>]>([
    ['printed "ho" where it had printed "hi"', { output: 'hi\n' }],
    ['printed "ho" where it had printed nothing', { output: '' }],
    ['ended with ok, which had ended with error', { status: 'error' }],
    ['wrote 3 bytes into x, which had been 1', { files: { written: [one], removed: [] } }],
    ['wrote x, which it had not', { files: { ...nothing, removed: ['data.csv'] } }],
    ['did not write w, which it had', { files: { written: [{ ...one, path: 'w' }], removed: [] } }],
  ])('a program that %s', async (difference, recorded) => {
    const changed = await recordOne(`print("ho")\n${write('x', 'one')}`, recorded);
    const { actions, failure } = await rebuild(changed);
    expect(actions).toEqual([]);
    expect(failure?.message).toBe(`run again, python ${difference}`);
  });

  test('a file that stays or goes', async () => {
    const messageWith = async (removed: readonly string[]) => {
      const files = { written: [], removed };
      const actions = await recordOne('import os\nos.remove("data.csv")', { files });
      return (await rebuild(actions)).failure?.message;
    };
    expect(await messageWith(['data.csv', 'z'])).toBe(
      'run again, python did not remove z, which it had',
    );
    expect(await messageWith([])).toBe('run again, python removed data.csv, which it had not');
  });

  test('contents are not compared where the record does not tell them', async () => {
    const files = { written: [{ path: 'x', bytes: 19 }], removed: [] };
    const { failure } = await rebuild(await recordOne(clock, { files }));
    expect(failure).toBeUndefined();
  });
});

describe('a call is not run again', () => {
  test('of a tool that may do more than change files; where it changed none, its play is made again without it', async () => {
    const [wrote] = await record([[write('x', 'one')]]);
    const called: string[] = [];
    const run: Tool['run'] = async (input) => {
      called.push(input);
      return { tool: 'post', status: 'ok', output: '', durationMs: 1 };
    };
    const post: Tool = { name: 'post', run, close: async () => undefined };
    const tools = new Map([['python', python]]).set('post', post);
    const sent = sampleAction('1/t/0/9', {
      toolCalls: [{ tool: 'post', input: 'hi' }],
      toolResults: [{ tool: 'post', status: 'ok', output: '', durationMs: 1 }],
    });
    expect((await rebuild([sent, wrote as Action], { tools })).failure).toBeUndefined();
    const files = { written: [{ path: 'x', bytes: 1 }], removed: [] };
    const toolResults = sent.toolResults.map((result) => ({ ...result, files }));
    const changing = { ...sent, toolResults };
    expect((await rebuild([changing], { tools })).failure?.message).toBe(
      'post is not run again: what it does besides changing files would be done twice',
    );
    expect(called).toEqual([]);
  });

  test('of a tool that is gone, or where a file of the task is', async () => {
    const actions = await record([[write('x', 'one')]]);
    const gone = await rebuild(actions, { tools: new Map() });
    expect(gone.failure?.message).toBe('there is no tool python any more');
    const { files } = task;
    task = { ...task, files: { 'data.csv': join(folder, 'gone.csv') } };
    const missing = await rebuild(actions);
    task = { ...task, files };
    expect(missing).toMatchObject({ actions: [], failure: { boundary: 'task' } });
    expect(missing.failure?.message).toContain('could not be laid out');
  });
});

test('what does not end is a failure by the deadline of a play; a run that stops fails nothing', async () => {
  const [action] = await record([[write('x', 'one')]]);
  const endless = { tool: 'python', input: 'while True: pass' };
  const actions = [{ ...(action as Action), toolCalls: [endless] }];
  const { failure } = await rebuild(actions, { playTimeoutMs: 1 });
  expect(failure).toMatchObject({ boundary: 'play' });
  const stopped = rebuild(actions, { stop: AbortSignal.abort(new Error('stopped')) });
  await expect(stopped).rejects.toThrow('stopped');
});
