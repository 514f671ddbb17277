import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
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

async function copyOfModel(name: string): Promise<string> {
  const copy = join(folder, name);
  await cp(join(fixtures, 'mistral'), copy, { recursive: true });
  return copy;
}

function largestDifference(first: readonly number[], second: readonly number[]): number {
  expect(first.length).toBe(second.length);
  return Math.max(...first.map((value, index) => Math.abs(value - (second[index] as number))));
}

describe('what is wrong is said in one sentence', () => {
  test.each([
    [['trian'], 2, 'teamtune has no command trian'],
    [['train'], 2, 'expected CONFIG'],
    [['train', 'docs'], 2, 'docs is a folder'],
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

  test.each([
    // 2³² + 2 would be token 2 in 32 bits.
    [3, '[[1, 2, 99999]]', '99999'],
    [2, '[[1, 4294967298, 3]]', '[0][1]'],
  ])(
    'token ids that the model does not have end with exit code %i: %s',
    async (expected, ids, named) => {
      const tokens = join(folder, 'large.json');
      await writeFile(tokens, ids);
      const args = ['logprobs', '--model', join(fixtures, 'qwen3'), '--tokens', tokens];
      const { code, stderr } = await runCli(args);
      expect(code).toBe(expected);
      expect(stderr).toContain(named);
      expect(stderr.trim().split('\n')).toHaveLength(1);
    },
  );

  test('a model whose numbers are not finite has no log-probabilities, rather than null for each', async () => {
    const model = await copyOfModel('broken-weights');
    const file = join(model, 'model.safetensors');
    const bytes = await readFile(file);
    bytes.fill(0xff, bytes.length - 1024);
    await writeFile(file, bytes);
    const tokens = join(folder, 'some.json');
    await writeFile(tokens, '[[1, 2, 3]]');
    const { code, stdout, stderr } = await runCli([
      'logprobs',
      '--model',
      model,
      '--tokens',
      tokens,
    ]);
    expect([code, stdout]).toEqual([3, '']);
    expect(stderr).toContain('token 1 of sequence 0 has log-probability NaN');
  });

  test('a configuration that is no JSON is named', async () => {
    const model = await copyOfModel('broken-config');
    await writeFile(join(model, 'config.json'), '{ not json');
    const tokens = join(folder, 'some.json');
    await writeFile(tokens, '[[1, 2, 3]]');
    const { code, stderr } = await runCli(['generate', '--model', model, '--tokens', tokens]);
    expect(code).toBe(2);
    expect(stderr).toContain('config.json is no JSON');
  });
});

test('doctor tells which libtorch and devices are in use', async () => {
  const { code, stdout } = await runCli(['doctor', '--json']);
  expect(code).toBe(0);
  const { findings } = JSON.parse(stdout);
  const names = findings.map(({ what }: { what: string }) => what);
  expect(names).toEqual(expect.arrayContaining(['node', 'libtorch', 'threads', 'device']));
  const foundOf = (name: string): string =>
    findings.find(({ what }: { what: string }) => what === name)?.found;
  expect(foundOf('libtorch')).toMatch(/^\d+\.\d+\.\d+, (the|that|named)/);
  expect(foundOf('kernels')).toMatch(/^on (libtorch's threads|one thread)$/);
  expect(foundOf('device')).toMatch(/^cpu (only|and \d+ CUDA)/);
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
