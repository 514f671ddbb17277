import { expect, test } from 'vitest';
import type { Sandbox } from '../types/sandbox.ts';
import type { Tool, ToolSource } from '../types/tool.ts';
import { openTools } from './open-tools.ts';

const tool = (name: string, closed: string[] = []): Tool => ({
  name,
  run: async () => ({ tool: name, status: 'ok', output: '', durationMs: 0 }),
  close: async () => {
    closed.push(name);
  },
});

const noSandbox = async (): Promise<Sandbox> => {
  throw new Error('nobody asked for Python');
};

test('only what a team asks for is opened, and all of that is closed', async () => {
  const closed: string[] = [];
  const opened: string[] = [];
  const source = (name: string, provides: readonly string[]): ToolSource => ({
    ...{ name, provides, close: async () => void closed.push(name) },
    open: async () => {
      opened.push(name);
      return provides.map((one) => tool(one, closed));
    },
  });
  const own = [tool('add', closed), source('web', ['search', 'fetch']), source('mail', ['send'])];
  const { tools, close } = await openTools(new Set(['search', 'add']), own, noSandbox);
  expect([...tools.keys()].toSorted()).toEqual(['add', 'search']);
  expect(opened).toEqual(['web']);
  await close();
  expect(closed.toSorted()).toEqual(['add', 'fetch', 'search', 'web']);
});

test('a tool that nobody provides, or two of one name, is refused with what there is', async () => {
  const own = [tool('add')];
  await expect(openTools(new Set(['adds']), own, noSandbox)).rejects.toThrow(
    'the team asks for the tool adds; there is python, add',
  );
  const twice = openTools(new Set(['add']), [...own, tool('add')], noSandbox);
  await expect(twice).rejects.toThrow('two tools have the name add');
});
