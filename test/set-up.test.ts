import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
let clone = '';
let programs = '';

beforeEach(async () => {
  clone = await mkdtemp(join(tmpdir(), 'teamtune-setup-'));
  programs = join(clone, 'programs');
  await mkdir(programs);
  for (const path of ['scripts', 'package.json', 'package-lock.json']) {
    await cp(join(root, path), join(clone, path), { recursive: true });
  }
  await mkdir(join(clone, 'native'));
  await writeFile(join(clone, 'native', 'addon.cc'), 'int teamtune;\n');
});

afterEach(() => rm(clone, { recursive: true, force: true }));

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs a script of the clone with only `programs` on the PATH: nothing of this machine can be found or changed. */
function run(script: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  return new Promise<Ended>((resolve) => {
    const env = { PATH: programs, HOME: clone, ...environment };
    const child = spawn(process.execPath, [join(clone, 'scripts', script), ...args], { env });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Gives the clone this repository's packages, marked as installed from today's package.json and lock. */
async function givePackages() {
  const hash = createHash('sha256');
  for (const file of ['package.json', 'package-lock.json']) {
    hash.update(await readFile(join(clone, file)));
  }
  await mkdir(join(clone, 'node_modules'));
  await writeFile(join(clone, 'node_modules', '.teamtune-stamp'), hash.digest('hex'));
}

async function giveProgram(name: string, script = 'exit 1') {
  await writeFile(join(programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

const hasLibtorch = 'the system has a libtorch, so Python is not asked for';

describe('set-up where something is missing', () => {
  test('says that npm is missing, how to get it, and exits 3', async () => {
    const ended = await run('setup.mjs', []);
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain('npm is not on the PATH');
    expect(ended.stderr).toContain('sudo apt-get install -y npm');
  });

  test('asks for a C++ compiler before it fetches anything large', async () => {
    await givePackages();
    const ended = await run('setup.mjs', []);
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain('no C++ compiler (g++ or clang++)');
    for (const command of ['apt-get install -y g++', 'dnf install -y gcc-c++', 'xcode-select']) {
      expect(ended.stderr).toContain(command);
    }
    expect(ended.stderr).not.toContain('fetching');
  });

  test('says that python3 is missing', async ({ skip }) => {
    await givePackages();
    await giveProgram('g++');
    const ended = await run('setup.mjs', []);
    skip(/libtorch \S+ \(system\)/.test(ended.stdout + ended.stderr), hasLibtorch);
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain('python3 is not on the PATH');
    expect(ended.stderr).toContain('TEAMTUNE_LIBTORCH');
  });

  test('says that python3 has neither pip nor venv', async ({ skip }) => {
    await givePackages();
    await giveProgram('g++');
    await giveProgram('python3');
    const ended = await run('setup.mjs', []);
    skip(/libtorch \S+ \(system\)/.test(ended.stdout + ended.stderr), hasLibtorch);
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain('has neither pip nor venv');
  });

  test('does not look elsewhere when TEAMTUNE_LIBTORCH names a wrong folder', async () => {
    await givePackages();
    await giveProgram('g++');
    const ended = await run('setup.mjs', [], { TEAMTUNE_LIBTORCH: join(clone, 'nothing') });
    expect(ended.code).toBe(3);
    expect(ended.stderr).toMatch(
      /TEAMTUNE_LIBTORCH is .*nothing, but .*libtorch_cpu\.\w+ is missing/,
    );
  });

  test('leaves no lock behind and clears the lock of a killed set-up', async () => {
    await givePackages();
    await mkdir(join(clone, '.teamtune'));
    // No process has this id: Linux ends at 2^22, macOS at 99,998.
    await writeFile(join(clone, '.teamtune', 'setup.lock'), '999999999');
    const ended = await run('setup.mjs', []);
    expect(ended.stderr).toContain('no C++ compiler');
    await expect(readFile(join(clone, '.teamtune', 'setup.lock'))).rejects.toThrow('ENOENT');
  });
});

describe('npm run teamtune', () => {
  const record = join(root, 'native', 'build', 'build.json');

  test.skipIf(!existsSync(record))(
    'prints nothing but the output of the command, and passes arguments and exit code on',
    async () => {
      await givePackages();
      await rm(join(clone, 'native'), { recursive: true });
      await symlink(join(root, 'native'), join(clone, 'native'));
      await mkdir(join(clone, 'src'));
      const cli = 'console.log(process.argv.slice(2).join(" ")); process.exitCode = 2;';
      await writeFile(join(clone, 'src', 'cli.ts'), cli);
      const { requested } = JSON.parse(await readFile(record, 'utf8'));
      const environment = requested ? { TEAMTUNE_LIBTORCH: requested } : {};
      const ended = await run('run.mjs', ['cli', 'grade', '--json'], environment);
      expect(ended).toEqual({ code: 2, stdout: 'grade --json\n', stderr: '' });
    },
  );
});
