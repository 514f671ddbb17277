import { expect, test } from 'vitest';
import type { Tool, ToolStatus } from '../types/tool.ts';
import { retryTool } from './retry-tool.ts';

/** A tool whose calls end in this order. */
function ending(...statuses: readonly ToolStatus[]): Tool & { readonly calls: () => number } {
  let calls = 0;
  return {
    ...{ name: 'python', close: async () => undefined, calls: () => calls },
    run: async () => {
      const status = statuses[calls++] ?? 'ok';
      return { tool: 'python', status, output: `call ${calls}`, durationMs: 0 };
    },
  };
}

const place = { actionId: 'a' };

test.each([
  [['infrastructure', 'infrastructure', 'ok'], 'ok', 3],
  [['infrastructure', 'infrastructure', 'infrastructure', 'ok'], 'infrastructure', 3],
  [['error', 'ok'], 'error', 1],
  [['timeout', 'ok'], 'timeout', 1],
] as const)('calls that would end as %j end as %s after %i', async (statuses, status, calls) => {
  const tool = ending(...statuses);
  const retried = retryTool(tool, { attempts: 3, delayMs: 1 });
  expect(await retried.run('', place)).toMatchObject({ status });
  expect(tool.calls()).toBe(calls);
});

test('a play that is over waits for no further call', async () => {
  const tool = ending('infrastructure');
  const stop = new AbortController();
  stop.abort();
  const call = retryTool(tool, { attempts: 3, delayMs: 60_000 }).run('', {
    ...place,
    signal: stop.signal,
  });
  await expect(call).rejects.toThrow('aborted');
  expect(tool.calls()).toBe(1);
});
