import { afterAll, expect, test } from 'vitest';
import { createPythonSandbox } from '../sandbox/python-sandbox.ts';
import { createPythonTool } from './python-tool.ts';

const tool = createPythonTool(createPythonSandbox({ timeLimitMs: 20_000, outputLimit: 500 }));
afterAll(() => tool.close());

async function run(...blocks: readonly string[]) {
  const results = (await tool.runTogether?.(blocks, { actionId: 'a' })) ?? [];
  return results.map(({ status, output }) => `${status}: ${output}`);
}

test('Blocks of one action share what they define, and each has its own output', async () => {
  expect(await run('x = 1\nprint("one")', 'print(x + 1)', 'print(__name__, x)')).toEqual([
    'ok: one\n',
    'ok: 2\n',
    'ok: __main__ 1\n',
  ]);
});

test('A block that raises, does not compile or exits keeps the next from nothing', async () => {
  const [raised, misspelt, left, last] = await run(
    'x = 5\n1 / 0',
    'print(',
    'import sys\nsys.stdout = None\nsys.exit(3)',
    'print(x)',
  );
  expect(raised).toMatch(
    /^error: Traceback .*"<block 1>", line 2, in <module>.*ZeroDivisionError/s,
  );
  expect(raised).not.toContain('run_blocks');
  expect(misspelt).toMatch(/^error: .*SyntaxError/s);
  expect(left).toBe('error: SystemExit: 3\n');
  expect(last).toBe('ok: 5\n');
});

test('A limit and a refusal end them all, and the others say that they did not run', async () => {
  const notRun = 'Not run: block 2 of this turn ended the interpreter.\n';
  const [first, flood, third] = await run('print(1)', 'print("x" * 9999)', 'print(3)');
  expect(first).toBe('ok: 1\n');
  expect(flood).toMatch(/^output-limit: x+/);
  expect(third).toBe(`output-limit: ${notRun}`);
  const refused = await run('print(1)', 'import socket\nsocket.socket()', 'print(3)');
  expect(refused[1]).toMatch(/^denied: /);
  expect(refused[2]).toBe(`denied: ${notRun}`);
});
