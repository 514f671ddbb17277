import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FileChanges, Sandbox } from '../types/sandbox.ts';
import { openWorkspaces } from './workspaces.ts';

const quota = { workspaceBytes: 1000, workspaceFiles: 3 };
let directory: string;
let csv: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'teamtune-workspaces-'));
  csv = join(directory, 'original.csv');
  await writeFile(csv, 'a,b\n');
});
afterEach(() => rm(directory, { recursive: true }));

const open = () => openWorkspaces(join(directory, 'workspaces'), quota);
const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (content: Uint8Array) => new TextDecoder().decode(content);

/** A sandbox in which every program leaves these files. */
function leaving(written: Record<string, string>, removed: readonly string[] = []): Sandbox {
  const entries = Object.entries(written).map(([path, text]) => [path, bytes(text)] as const);
  const changes: FileChanges = { written: new Map(entries), removed };
  return {
    ...{ name: 'leaving', check: async () => undefined, close: async () => undefined },
    run: async () => ({ status: 'ok', output: '', durationMs: 1, changes }),
  };
}

test('the files of a play outlast the call that wrote them, and a later one adds to them', async () => {
  const workspace = await open().open('1/t/0', { 'train.csv': csv });
  await workspace.run(leaving({ 'x.pkl': 'x', 'd/y.pkl': 'y' }), '', { actionId: 'a' });
  await workspace.run(leaving({ 'x.pkl': 'xx' }, ['train.csv']), '', { actionId: 'b' });
  expect(await workspace.list()).toEqual([
    { path: 'd/y.pkl', bytes: 1 },
    { path: 'x.pkl', bytes: 2 },
  ]);
  expect(textOf(await workspace.read('x.pkl'))).toBe('xx');
  expect([...(await workspace.collect('**/*.pkl')).keys()]).toEqual(['d/y.pkl', 'x.pkl']);
  expect([...(await workspace.collect('*.csv')).keys()]).toEqual([]);
  await expect(workspace.read('model.pkl')).rejects.toThrow(
    'the workspace has no file model.pkl; it has d/y.pkl, x.pkl',
  );
});

test('plays share nothing, and a task’s own file is not changed by any', async () => {
  const workspaces = open();
  const first = await workspaces.open('1/t/0', { 'train.csv': csv });
  const second = await workspaces.open('1/t/1', { 'train.csv': csv });
  await first.run(leaving({ 'train.csv': 'gone' }), '', { actionId: 'a' });
  expect(textOf(await first.read('train.csv'))).toBe('gone');
  expect(textOf(await second.read('train.csv'))).toBe('a,b\n');
});

test('a resumed play has the files of its finished actions, without those of the one that was cut off', async () => {
  const before = await open().open('1/t/0', { 'train.csv': csv });
  await before.run(leaving({ x: '1' }), '', { actionId: 'a' });
  await before.run(leaving({ x: '2' }), '', { actionId: 'b' });
  const after = await open().open('1/t/0', { 'train.csv': csv });
  await after.restore('a', { hadChanges: true });
  expect(textOf(await after.read('x'))).toBe('1');
  const seen: (string | undefined)[] = [];
  const looking: Sandbox = {
    ...leaving({ y: '3' }),
    run: async (program, { folder } = {}) => {
      seen.push(folder === undefined ? undefined : (await readdir(folder)).join());
      return leaving({ y: '3' }).run(program);
    },
  };
  await after.run(looking, '', { actionId: 'b' });
  expect(seen).toEqual(['train.csv,x']);
  const again = await open().open('1/t/0', { 'train.csv': csv });
  await again.restore('a', { hadChanges: true });
  await again.restore('b', { hadChanges: true });
  expect((await again.list()).map(({ path }) => path)).toEqual(['train.csv', 'x', 'y']);
  expect(textOf(await again.read('x'))).toBe('1');
});

test('files that are gone stop the run rather than change what a resumed play sees', async () => {
  const workspaces = open();
  const workspace = await workspaces.open('1/t/0', {});
  await workspace.restore('nothing changed', { hadChanges: false });
  await expect(workspace.restore('a', { hadChanges: true })).rejects.toThrow('start a new run');
});

test.each([
  ['more files than allowed', { a: '', b: '', c: '', d: '' }, 'got 4 files'],
  ['more bytes than allowed', { a: 'x'.repeat(1001) }, '1 files and 1001 bytes'],
  ['a path that leads out', { '../out': 'x' }, 'leads out of the workspace'],
  ['an absolute path', { '/etc/x': 'x' }, 'leads out of the workspace'],
  ['a file below a file', { a: 'x', 'a/b': 'x' }, 'could not be kept'],
])('%s is refused, and the files stay as they were', async (_, written, message) => {
  const workspace = await open().open('1/t/0', { 'train.csv': csv });
  const call = workspace.run(leaving({ ...written }, ['train.csv']), '', { actionId: 'a' });
  await expect(call).rejects.toThrow(message);
  expect((await workspace.list()).map(({ path }) => path)).toEqual(['train.csv']);
});

test('nothing is left once the plays are over, nor after a process that was killed', async () => {
  const killed = await open().open('1/t/0', { 'train.csv': csv });
  await killed.run(leaving({ x: '1' }), '', { actionId: 'a' });
  const workspaces = open();
  await workspaces.open('1/t/0', { 'train.csv': csv });
  await workspaces.close();
  expect(await readdir(directory)).toContain('workspaces');
  await workspaces.remove('1/t/0');
  await workspaces.remove('1/t/0');
  await workspaces.close();
  expect(await readdir(directory)).toEqual(['original.csv']);
});

test('a play whose task names a file that is not there says which', async () => {
  const files = { 'train.csv': join(directory, 'missing.csv') };
  await expect(open().open('1/t/0', files)).rejects.toThrow(/laid out: .*missing\.csv/);
});
