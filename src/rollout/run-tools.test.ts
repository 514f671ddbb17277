import { expect, test } from 'vitest';
import type { Tool, ToolResult } from '../types/tool.ts';
import { runTools } from './run-tools.ts';

const result = (tool: string, output: string): ToolResult => {
  return { tool, status: 'ok', output, durationMs: 1 };
};

/** Says which inputs it was given at once. */
function recordingTools(): ReadonlyMap<string, Tool> {
  const close = async () => undefined;
  const python: Tool = {
    ...{ name: 'python', close },
    run: async (input) => result('python', `alone ${input}`),
    runTogether: async (inputs) =>
      inputs.map((input) => result('python', `${input} of ${inputs.join('+')}`)),
  };
  const search: Tool = {
    ...{ name: 'search', close },
    run: async (input) => result('search', input),
  };
  return new Map([
    ['python', python],
    ['search', search],
  ]);
}

async function outputsOf(text: string, stop: 'stop' | 'length' = 'stop') {
  const said = { agent: 'a', text, stop, isThinking: false, allowed: ['python', 'search'] };
  const { toolResults } = await runTools(said, recordingTools(), { actionId: 'x' });
  return toolResults.map(({ status, output }) => `${status}: ${output}`);
}

test('Python blocks of one action run together, each with a result of its own', async () => {
  const text = '```python\na\n```\nand\n```py\nb\n```';
  expect(await outputsOf(text)).toEqual(['ok: a of a+b', 'ok: b of a+b']);
  expect(await outputsOf('```python\na\n```')).toEqual(['ok: alone a']);
});

test('Calls keep their order, and only neighbours run together', async () => {
  const call = (name: string, value: object) =>
    `<tool_call>${JSON.stringify({ name, arguments: value })}</tool_call>`;
  const python = (code: string) => call('python', { code });
  const text = [python('a'), python('b'), call('search', { q: 1 }), python('c')].join('\n');
  expect(await outputsOf(text)).toEqual([
    'ok: a of a+b',
    'ok: b of a+b',
    'ok: {"q":1}',
    'ok: alone c',
  ]);
});

test('A block that the length limit cut off is refused, and the whole ones before it run', async () => {
  const text = '```python\na\n```\n```python\nb\n```\n```python\nhal';
  expect(await outputsOf(text, 'length')).toEqual([
    'ok: a of a+b',
    'ok: b of a+b',
    'invalid: the ```python block was cut off by the length limit',
  ]);
});
