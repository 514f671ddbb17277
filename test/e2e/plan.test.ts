import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';

const index = fileURLToPath(new URL('../../src/index.ts', import.meta.url));

/** Two agents speak twice each; every answer is scored, in evaluations, too. */
const discussionText = `
import { defineRun, discussionTeam } from ${JSON.stringify(index)};
const agent = { role: 'Debater', maxTokens: 6 };
const tasks = Array.from({ length: 4 }, (_, id) => ({ id: String(id), prompt: 'Add ' + id, answer: '1' }));
export default defineRun({
  name: 'two',
  team: discussionTeam({
    ...{ name: 'two', agents: { ann: agent, bob: agent }, turns: 2 },
    ...{ showScores: true, decides: 'weighted' },
  }),
  model: { path: './model', threads: 1 },
  adapter: { rank: 2, alpha: 4 },
  tasks: { train: tasks, heldOut: tasks },
  coach: ({ action }) => action.tokens.length,
  method: { kind: 'maporl', verifier: 'grade' },
  rollout: { tasksPerStep: 4, samplesPerTask: 1 },
  evaluation: { samplesPerTask: 2 },
  training: { steps: 2 },
});
`;

const config = fileURLToPath(new URL('../../teams/mathchat/teamtune.config.ts', import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-plan-'));
  await makeRandomModel(join(folder, 'model'));
  const tasks = Array.from({ length: 40 }, (_, at) => ({
    prompt: `What is ${at} + 1?`,
    answer: '2',
  }));
  await writeFile(join(folder, 'tasks.json'), JSON.stringify(tasks));
  await writeFile(join(folder, 'held-out.json'), JSON.stringify(tasks.slice(0, 5)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function plan(...sets: readonly string[]) {
  const all = [
    ...[`model.path=${join(folder, 'model')}`, `tasks.train=${join(folder, 'tasks.json')}`],
    ...[`tasks.heldOut=${join(folder, 'held-out.json')}`, 'tasks.sample=32', ...sets],
  ];
  return ['plan', config, ...all.flatMap((set) => ['--set', set])];
}

test('a plan counts calls and plays of the whole run, measures a step, asks no coach and leaves nothing behind', async () => {
  const before = await readdir(tmpdir());
  const env = { GOOGLE_GENERATIVE_AI_API_KEY: '', GEMINI_API_KEY: '', GOOGLE_API_KEY: '' };
  const { code, stdout, stderr } = await runCli([...plan('evaluation.every=32'), '--json'], {
    env,
  });
  // On a slow machine it says what it waits for.
  expect(stderr.replaceAll(/^ +waiting for .*\n/gm, '')).toBe('');
  expect(code).toBe(0);
  const result = JSON.parse(stdout);
  // 128 steps of 32 × 2 plays of 3 to 4 actions.
  expect(result.coach).toMatchObject({ name: 'google/gemini-2.5-flash', calls: [24576, 32768] });
  const { inputTokens, outputTokens, usd } = result.coach;
  // The list price of the model: 0.30 and 2.50 USD per million tokens.
  expect(usd[0]).toBeCloseTo((24576 * (0.3 * inputTokens + 2.5 * outputTokens)) / 1e6, 6);
  // 5 tasks × 4 samples, before, after and at steps 32, 64 and 96.
  expect(result.load).toMatchObject({ steps: 128, tokensPerPlay: 4 * 4096, evaluationPlays: 100 });
  expect(result.memory.total).toBeLessThan(result.memory.available);
  expect(result.dryStep.samplingRate).toBeGreaterThan(0);
  expect(result.dryStep.trainingRate).toBeGreaterThan(0);
  expect(result.time.trainingSeconds).toBeCloseTo(128 * result.time.stepSeconds, 3);
  const { plays, seconds, actions, cutActions } = result.dryStep;
  expect(result.time.measuredStepSeconds).toBeCloseTo((64 * seconds) / plays, 6);
  expect(cutActions).toBeLessThanOrEqual(actions);
  const { total, available: _, ...components } = result.memory;
  const sum = Object.values<number>(components).reduce((all, bytes) => all + bytes, 0);
  expect(total).toBe(sum);
  expect(components.allowance).toBeCloseTo((0.15 * (sum - components.process)) / 1.15, -1);
  const left = (await readdir(tmpdir())).filter((name) => !before.includes(name));
  expect(left.filter((name) => name.startsWith('teamtune-plan-'))).toEqual([]);
}, 120_000);

test('a plan counts the actions that a play was seen to have where a team asks its agents more than once', async () => {
  const file = join(folder, 'discussion.config.ts');
  await writeFile(file, discussionText);
  const { code, stdout } = await runCli(['plan', file, '--json']);
  expect(code).toBe(0);
  const { coach, load, dryStep } = JSON.parse(stdout);
  // 2 steps of 4 plays, and 4 tasks × 2 samples before and after: 24 plays of two agents' two answers.
  expect(coach.calls).toEqual([0, 24 * 4]);
  expect(load).toMatchObject({ actionsPerPlay: [2, 4], tokensPerPlay: 4 * 6 });
  expect(dryStep.mostActions).toBe(4);
}, 120_000);

test.each([
  [['model.microBatchTokens=2000000000'], /set model\.microBatchTokens=\d+$/],
  [
    ['model.maxRows=100000000', 'rollout.concurrency=100000000', 'rollout.tasksPerStep=50000000'],
    /set model\.maxRows=\d+$/,
  ],
])(
  'what cannot fit is refused before anything is loaded, with the key to turn: %j',
  async (sets, advice) => {
    const { code, stderr, stdout } = await runCli(plan(...sets));
    expect(code).toBe(2);
    expect(stderr.trim()).toMatch(/^teamtune: the run may need [\d.]+ GiB, this machine has /);
    expect(stderr.trim()).toMatch(advice);
    expect(stdout).toMatch(/KV cache +[\d.]+ [MG]iB/);
    expect(stdout).not.toContain('measured');
  },
);

test('a coach of our engine counts with its weights and its cache', async () => {
  const { code, stdout } = await runCli(
    plan('model.microBatchTokens=2000000000', `coach=local/${join(folder, 'model')}`),
  );
  expect(code).toBe(2);
  const mebibytes = (name: string): number => {
    const [, size, unit] = new RegExp(`${name} +([\\d.]+) ([MG])iB`).exec(stdout) ?? [];
    return Number(size) * (unit === 'G' ? 1024 : 1);
  };
  // The same weights again, and 16 verdicts at once in place of 64 actions.
  expect(mebibytes('other models')).toBeGreaterThan(mebibytes('weights'));
  expect(mebibytes('other models')).toBeLessThan(mebibytes('weights') + mebibytes('KV cache'));
});
