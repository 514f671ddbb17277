import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../support/run-cli.ts';

const fixtures = fileURLToPath(new URL('../parity/fixtures', import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-commands-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('grade', () => {
  test.each([
    ['so \\boxed{080}', '80', true],
    ['\\boxed{142}', '142.0', true],
    ['\\boxed{336}', '336^\\circ', true],
    ['\\boxed{337}', '336^\\circ', false],
  ])('%s against %s is %s', async (prediction, answer, correct) => {
    const args = ['grade', '--task', 'math', '--prediction', prediction, '--answer', answer];
    const { code, stdout } = await runCli(args);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ correct });
  });
});

describe.each(['qwen3', 'qwen2', 'llama', 'mistral'])('a %s folder', (name) => {
  const model = join(fixtures, name);

  test('has the log-probabilities that transformers computes, with and without a peft adapter', async () => {
    const expected = JSON.parse(await readFile(join(model, 'expected.json'), 'utf8'));
    const tokens = join(folder, `${name}-rows.json`);
    await writeFile(tokens, JSON.stringify(expected.rows));
    for (const [adapter, wanted] of [
      [[], expected.logprobs],
      [['--adapter', join(model, 'adapter')], expected.adapterLogprobs],
    ]) {
      const args = ['logprobs', '--model', model, '--tokens', tokens, ...adapter];
      const { code, stdout, stderr } = await runCli(args);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const rows: (number | null)[][] = JSON.parse(stdout);
      rows.forEach((row, index) => {
        expect(row[0]).toBeNull();
        expect(largestDifference(row.slice(1) as number[], wanted[index])).toBeLessThan(1e-4);
      });
    }
  });

  test('continues greedily as transformers does', async () => {
    const expected = JSON.parse(await readFile(join(model, 'expected.json'), 'utf8'));
    const tokens = join(folder, `${name}-prompts.json`);
    await writeFile(tokens, JSON.stringify(expected.rows));
    const length = String(expected.greedy[0].length);
    const args = ['generate', '--model', model, '--tokens', tokens, '--max-tokens', length];
    const { code, stdout } = await runCli([...args, '--greedy']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual(expected.greedy);
  });
});

function largestDifference(first: readonly number[], second: readonly number[]): number {
  expect(first.length).toBe(second.length);
  return Math.max(...first.map((value, index) => Math.abs(value - (second[index] as number))));
}

describe('what is wrong is said in one sentence', () => {
  test.each([
    [['trian'], 2, 'teamtune has no command trian'],
    [['train'], 2, 'expected CONFIG'],
    [['train', 'missing.config.ts'], 2, 'there is no config file at'],
    [['grade', '--task', 'math', '--prediction', '1'], 2, '--answer is missing'],
    [['grade', '--nonsense'], 2, 'nonsense'],
    [['logprobs', '--model', '/nowhere', '--tokens', '/nowhere.json'], 2, '/nowhere.json'],
  ])('%j', async (args, code, sentence) => {
    const result = await runCli(args as string[]);
    expect(result.code).toBe(code);
    expect(result.stderr).toContain(sentence);
    expect(result.stderr.trim().split('\n')).toHaveLength(1);
    expect(result.stdout).toBe('');
  });

  test('token ids that the model does not have are named', async () => {
    const tokens = join(folder, 'large.json');
    await writeFile(tokens, '[[1, 2, 99999]]');
    const args = ['logprobs', '--model', join(fixtures, 'qwen3'), '--tokens', tokens];
    const { code, stderr } = await runCli(args);
    expect(code).not.toBe(0);
    expect(stderr).toContain('99999');
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

test('doctor tells which libtorch and devices are in use', async () => {
  const { code, stdout } = await runCli(['doctor', '--json']);
  expect(code).toBe(0);
  const { findings } = JSON.parse(stdout);
  const names = findings.map(({ what }: { what: string }) => what);
  expect(names).toEqual(expect.arrayContaining(['node', 'libtorch', 'threads', 'device']));
});

test('every command explains itself', async () => {
  const { stdout } = await runCli(['--help']);
  const names = [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name as string);
  expect(names).toEqual(expect.arrayContaining(['train', 'evaluate', 'quickstart', 'doctor']));
  for (const name of names) {
    const { code, stdout: help } = await runCli([name, '--help']);
    expect(code).toBe(0);
    expect(help).toContain(`teamtune ${name}`);
  }
});
