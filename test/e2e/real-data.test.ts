import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';

const bench = fileURLToPath(new URL('../../../shared/data/bench', import.meta.url));
const config = fileURLToPath(new URL('../../teams/mathchat/teamtune.config.ts', import.meta.url));
const isPresent = existsSync(join(bench, 'AIME_1983_2024.json'));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-real-'));
  await makeRandomModel(join(folder, 'model'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A file of the first problems of a real one, so that an evaluation takes seconds. */
async function firstOf(name: string, count: number): Promise<string> {
  const rows: unknown[] = JSON.parse(await readFile(join(bench, name), 'utf8'));
  const file = join(folder, name);
  await writeFile(file, JSON.stringify(rows.slice(0, count)));
  return file;
}

/** The files of the AIME and AMC are not part of the repository: without them there is nothing to run. */
test.skipIf(!isPresent)(
  'the MathChat team trains on 512 AIME problems and is evaluated on AIME 2025 and AMC with any model folder',
  async () => {
    const run = join(folder, 'run');
    const sets = [
      `model.path=${join(folder, 'model')}`,
      `tasks.train=${join(bench, 'AIME_1983_2024.json')}`,
      `tasks.heldOut.aime-2025=${await firstOf('aime_2025.json', 4)}`,
      `tasks.heldOut.amc=${await firstOf('amc_eval_32.json', 6)}`,
      ...['credit.source=outcome', 'training.steps=1', 'rollout.tasksPerStep=4'],
      ...['rollout.maxActionTokens=24', 'evaluation.samplesPerTask=1', 'evaluation.every=0'],
    ].flatMap((set) => ['--set', set]);
    const { code, stdout, stderr } = await runCli(['train', config, '--output', run, ...sets]);
    expect(stderr).toBe('');
    expect(code, stdout).toBe(0);
    const record = openRun(run, { mode: 'read' });
    const plays = record.trajectoriesOf(1);
    const evaluations = record.evaluations();
    record.close();
    expect(plays).toHaveLength(8);
    expect(plays.every(({ failure }) => failure === undefined)).toBe(true);
    expect(plays[0]?.actions[0]?.observationText).toContain('<|im_start|>user');
    const counted = evaluations.map(({ name, rows }) => `${name}: ${rows.length}`);
    expect(counted).toEqual([
      ...['base@aime-2025: 4', 'base@amc: 6'],
      ...['trained@aime-2025: 4', 'trained@amc: 6'],
    ]);
    expect(stdout).toContain('aime-2025 accuracy  0.0 % → 0.0 %');
    expect(stdout).toContain('on 6 held-out tasks');
    expect(stdout).not.toContain('warning');
  },
  180_000,
);

test('a coach without a key is refused before anything is played, with the fix in the sentence', async () => {
  const tasks = join(folder, 'tasks.json');
  await writeFile(tasks, JSON.stringify([{ prompt: 'What is 1 + 1?', answer: '2' }]));
  const sets = [
    ...['--set', `model.path=${join(folder, 'model')}`],
    ...['--set', `tasks.train=${tasks}`, '--set', `tasks.heldOut=${tasks}`],
    ...['--set', 'tasks.sample=1'],
  ];
  const env = { GOOGLE_GENERATIVE_AI_API_KEY: '', GEMINI_API_KEY: '', GOOGLE_API_KEY: '' };
  const output = join(folder, 'no-key');
  const { code, stderr } = await runCli(['train', config, '--output', output, ...sets], { env });
  expect(code).toBe(3);
  expect(stderr).toMatch(/GOOGLE_GENERATIVE_AI_API_KEY|GEMINI_API_KEY/);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(existsSync(join(output, 'run.db'))).toBe(false);
});
