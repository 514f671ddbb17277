import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Tool } from '../types/tool.ts';
import { recordTool } from './record-tool.ts';

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'teamtune-recording-'));
  file = join(directory, 'calls', 'search.jsonl');
});
afterEach(() => rm(directory, { recursive: true }));

/** A tool that counts its calls, and fails on our side for the input `down`. */
function counting(): Tool {
  let calls = 0;
  return {
    ...{ name: 'search', close: async () => undefined },
    run: async (input) => ({
      ...{ tool: 'search', durationMs: 5, output: `${input} ${++calls}` },
      status: input === 'down' ? 'infrastructure' : 'ok',
    }),
  };
}

const place = { actionId: 'a' };

test('what was recorded is replayed without a call, and what was not is our failure', async () => {
  const recording = recordTool(counting(), { file, mode: 'record' });
  expect(await recording.run('pi', place)).toMatchObject({ output: 'pi 1' });
  await recording.run('down', place);
  const replaying = recordTool(counting(), { file, mode: 'replay' });
  expect(await replaying.run('pi', place)).toMatchObject({ status: 'ok', output: 'pi 1' });
  expect(await replaying.run('down', place)).toMatchObject({ status: 'infrastructure' });
  expect((await readFile(file, 'utf8')).split('\n')).toHaveLength(2);
});

test('an answer that was cut is replayed as one that was cut', async () => {
  const flooding: Tool = {
    ...counting(),
    run: async () => ({ tool: 'search', status: 'output-limit', output: 'aaa', durationMs: 1 }),
  };
  await recordTool(flooding, { file, mode: 'record' }).run('pi', place);
  const replaying = recordTool(counting(), { file, mode: 'replay' });
  expect(await replaying.run('pi', place)).toMatchObject({ status: 'output-limit', output: 'aaa' });
});

test('filling makes each call once, also after a process that was killed while it wrote', async () => {
  const first = recordTool(counting(), { file, mode: 'fill' });
  await first.run('pi', place);
  expect(await first.run('pi', place)).toMatchObject({ output: 'pi 1' });
  await appendFile(file, '{"tool":"search","in');
  const second = recordTool(counting(), { file, mode: 'fill' });
  expect(await second.run('pi', place)).toMatchObject({ output: 'pi 1' });
  expect(await second.run('e', place)).toMatchObject({ output: 'e 1' });
});

test('a recording that is missing or is none is said before anything is played', async () => {
  expect(() => recordTool(counting(), { file, mode: 'replay' })).toThrow('there is no recording');
  await recordTool(counting(), { file, mode: 'record' }).run('pi', place);
  await appendFile(file, 'no call\n{}\n\n');
  expect(() => recordTool(counting(), { file, mode: 'replay' })).toThrow(
    'line 2, is no recorded call',
  );
});
