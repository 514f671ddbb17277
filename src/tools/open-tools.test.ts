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

test('where one cannot be opened or closed, all others are closed, and what is told is why there is no start', async () => {
  const closed: string[] = [];
  const stuck: Tool = { ...tool('add'), close: () => Promise.reject(new Error('it hangs')) };
  const gone: ToolSource = {
    ...{ name: 'web', provides: ['search'], close: async () => void closed.push('web') },
    open: () => Promise.reject(new Error('nobody is there')),
  };
  const own = [stuck, tool('send', closed), gone];
  const wanted = new Set(['add', 'send', 'search']);
  await expect(openTools(wanted, own, noSandbox)).rejects.toThrow('nobody is there');
  expect(closed).toEqual(['send', 'web']);
  const { close } = await openTools(new Set(['add', 'send']), own, noSandbox);
  await expect(close()).rejects.toThrow('it hangs');
  expect(closed).toEqual(['send', 'web', 'send']);
});

test('a tool may be an instance of a class, whose methods are not its own', async () => {
  class Counter implements Tool {
    readonly name = 'count';
    #calls = 0;
    isClosed = false;

    async run() {
      this.#calls += 1;
      return { tool: this.name, status: 'ok', output: `${this.#calls}`, durationMs: 0 } as const;
    }

    async close() {
      this.isClosed = true;
    }
  }
  const counter = new Counter();
  const { tools, close } = await openTools(new Set(['count']), [counter], noSandbox);
  const options = { actionId: 'a' };
  expect((await tools.get('count')?.run('', options))?.output).toBe('1');
  expect((await tools.get('count')?.run('', options))?.output).toBe('2');
  await close();
  expect(counter.isClosed).toBe(true);
});
