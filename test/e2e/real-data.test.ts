import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
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

/** The files of the AIME and AMC are not part of the repository: without them there is nothing to run. */
test.skipIf(!isPresent)(
  'the MathChat team trains on AIME and is evaluated on AMC with any model folder',
  async () => {
    const run = join(folder, 'run');
    const sets = [
      `model.path=${join(folder, 'model')}`,
      `tasks.train=${join(bench, 'AIME_1983_2024.json')}`,
      `tasks.heldOut=${join(bench, 'amc_eval_32.json')}`,
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
    expect(evaluations.map(({ rows }) => rows.length)).toEqual([32, 32]);
  },
  180_000,
);

test('a coach without a key is refused before anything is played, with the fix in the sentence', async () => {
  const tasks = join(folder, 'tasks.json');
  await writeFile(tasks, JSON.stringify([{ prompt: 'What is 1 + 1?', answer: '2' }]));
  const sets = [
    ...['--set', `model.path=${join(folder, 'model')}`],
    ...['--set', `tasks.train=${tasks}`, '--set', `tasks.heldOut=${tasks}`],
  ];
  const env = { GOOGLE_GENERATIVE_AI_API_KEY: '', GEMINI_API_KEY: '', GOOGLE_API_KEY: '' };
  const output = join(folder, 'no-key');
  const { code, stderr } = await runCli(['train', config, '--output', output, ...sets], { env });
  expect(code).toBe(3);
  expect(stderr).toMatch(/GOOGLE_GENERATIVE_AI_API_KEY|GEMINI_API_KEY/);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(existsSync(join(output, 'run.db'))).toBe(false);
});
