import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Execution, Sandbox } from '../../src/types/sandbox.ts';

/** What the suite knows of the sandbox under test. */
export type SandboxUnderTest = {
  readonly create: () => Promise<Sandbox>;
  /** Why it cannot be tested on this machine; printed instead of running the suite. */
  readonly skip?: string;
};

/** Limits that the sandboxes under test have. */
export const limits = {
  timeLimitMs: 4000,
  memoryBytes: 256 * 2 ** 20,
  outputLimit: 10_000,
  workspaceBytes: 8 * 2 ** 20,
  workspaceFiles: 50,
} as const;

const decoder = new TextDecoder();

function textsOf({ changes }: Execution): Record<string, string> {
  return Object.fromEntries(
    [...changes.written].map(([path, content]) => [path, decoder.decode(content)]),
  );
}

/** What every `Sandbox` must do. */
export function describeSandbox(name: string, under: SandboxUnderTest): void {
  if (under.skip !== undefined) {
    describe.skip(`${name} as a sandbox`, () => it(under.skip ?? '', () => undefined));
    process.stderr.write(`skipped: ${name} as a sandbox: ${under.skip}\n`);
    return;
  }
  describe(`${name} as a sandbox`, () => {
    let sandbox: Sandbox;
    let folder: string;

    beforeAll(async () => {
      sandbox = await under.create();
      folder = await mkdtemp(join(tmpdir(), 'teamtune-sandbox-'));
      await mkdir(join(folder, 'data'));
      await writeFile(join(folder, 'data', 'train.csv'), 'a,b\n1,2\n');
      await writeFile(join(folder, 'old.txt'), 'old');
    });
    afterAll(async () => {
      await sandbox.close();
      await rm(folder, { recursive: true });
    }, 60_000);

    it('says that it works here', async () => {
      await sandbox.check();
    });

    it('returns what a program printed on both streams, in order', async () => {
      const program = 'import sys\nprint("é🙂")\nprint("err", file=sys.stderr)\nprint("end")';
      const execution = await sandbox.run(program);
      expect(execution).toMatchObject({ status: 'ok', output: 'é🙂\nerr\nend\n' });
      expect(execution.durationMs).toBeGreaterThan(0);
    });

    it('returns the traceback of a program that raises', async () => {
      const { status, output } = await sandbox.run('print("before")\n1 / 0');
      expect(status).toBe('error');
      expect(output).toMatch(/^before\nTraceback .*line 2, in <module>.*ZeroDivisionError/s);
    });

    it('takes the status from what a program raised, and not from what it printed', async () => {
      for (const words of ['MemoryError', 'PermissionError: [Errno 1] Operation not permitted']) {
        const program = `import sys\nprint(${JSON.stringify(words)}, file=sys.stderr)\nsys.exit(1)`;
        expect(await sandbox.run(program)).toMatchObject({ status: 'error' });
      }
      const refused =
        'try:\n  open("/etc/shadow", "w")\nexcept OSError as e:\n  raise ValueError from e';
      expect((await sandbox.run(refused)).status).toMatch(/denied|error/);
      expect(await sandbox.run('bytearray(10 ** 9)')).toMatchObject({ status: 'memory' });
    });

    it('shows a program the files of a folder and returns only what it changed', async () => {
      const program = `
import os
print(open("data/train.csv").read(), sorted(os.listdir(".")))
open("data/new.bin", "wb").write(bytes(range(5)))
open("old.txt", "a").write("er")
open("data/train.csv").close()`;
      const execution = await sandbox.run(program, { folder });
      expect(execution.output).toBe("a,b\n1,2\n ['data', 'old.txt']\n");
      expect(textsOf(execution)).toEqual({
        'data/new.bin': '\0\u0001\u0002\u0003\u0004',
        'old.txt': 'older',
      });
      expect(execution.changes.removed).toEqual([]);
      expect(await readdir(folder)).toEqual(['data', 'old.txt']);
    });

    it('tells which files a program removed', async () => {
      const execution = await sandbox.run('import os\nos.remove("old.txt")', { folder });
      expect(execution.changes.removed).toEqual(['old.txt']);
      expect(execution.changes.written.size).toBe(0);
    });

    it('keeps nothing from one program to the next', async () => {
      await sandbox.run('open("left.txt", "w").write("x")\nimport math\nmath.pi = 3');
      const program = 'import math, os\nprint(os.listdir("."), math.pi > 3)';
      expect((await sandbox.run(program)).output).toBe('[] True\n');
    });

    it('keeps what a program wrote before it failed', async () => {
      const execution = await sandbox.run('open("half.txt", "w").write("half")\nraise ValueError');
      expect(execution.status).toBe('error');
      expect(textsOf(execution)).toEqual({ 'half.txt': 'half' });
    });

    it('imports modules from the working folder', async () => {
      const program = `
open("mine.py", "w").write("answer = 42")
import importlib; importlib.invalidate_caches()
import mine
print(mine.answer)`;
      expect((await sandbox.run(program)).output).toBe('42\n');
    });

    it('stops for an abort, also while waiting, and goes on with the next', async () => {
      const abort = new AbortController();
      const running = sandbox.run('while True: pass', { signal: abort.signal });
      const waiting = sandbox.run('print(1)', { signal: abort.signal });
      abort.abort(new Error('enough'));
      await expect(running).rejects.toThrow('enough');
      await expect(waiting).rejects.toThrow('enough');
      expect((await sandbox.run('print(3)')).output).toBe('3\n');
    });

    it('refuses programs once it is closed', async () => {
      const other = await under.create();
      await other.close();
      await expect(other.run('print(1)')).rejects.toThrow('has been closed');
    });
  });
}
