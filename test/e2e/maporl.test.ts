import { readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { countRows, factsOf, killAtEach } from '../support/killed-training.ts';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';

const index = fileURLToPath(new URL('../../src/index.ts', import.meta.url));

/** Three agents discuss for three turns; a function judges by length, so that a model of random weights earns something. */
const configText = `
import { defineRun, discussionTeam } from ${JSON.stringify(index)};
const agent = { role: 'Debater', maxTokens: 6 };
const tasks = Array.from({ length: 8 }, (_, id) => ({ id: String(id), prompt: 'Add ' + id, answer: '1' }));
export default defineRun({
  name: 'three',
  team: discussionTeam({ name: 'three', agents: { ann: agent, bob: agent, cy: agent }, turns: 3 }),
  model: { path: './model', threads: 1 },
  adapter: { rank: 2, alpha: 4 },
  tasks: { train: tasks, heldOut: tasks.slice(0, 4) },
  coach: ({ action }) => action.tokens.reduce((sum, token) => sum + token, 0) % 11,
  method: { kind: 'maporl', verifier: 'coach', incentives: { a0: 1, a1: 1, b0: 1, b1: 1 } },
  rollout: { tasksPerStep: 4, samplesPerTask: 1 },
  update: { learningRate: 1e-2 },
  training: { steps: 3 },
});
`;
const teamsFolder = fileURLToPath(new URL('../../teams/', import.meta.url));

/** The opponents of `teams/split-knowledge-zero-sum`, played by a model of random weights and judged by length. */
const zeroSumText = `
import { defineRun } from ${JSON.stringify(index)};
import { splitKnowledgeTeam, zeroSumPayoffs } from '${teamsFolder}split-knowledge-team.ts';
import { splitQuestions, taskOf } from '${teamsFolder}split-knowledge/language.ts';
export default defineRun({
  name: 'zero-sum',
  team: splitKnowledgeTeam,
  model: { path: './model', threads: 1 },
  adapter: { rank: 2, alpha: 4 },
  tasks: { train: splitQuestions().train.slice(0, 8).map(taskOf) },
  coach: ({ action }) => action.tokens.reduce((sum, token) => sum + token, 0) % 11,
  method: { kind: 'maporl', verifier: 'coach', turnDiscount: 1, payoffs: zeroSumPayoffs },
  rollout: { tasksPerStep: 8, samplesPerTask: 1 },
  training: { steps: 1 },
});
`;
let folder: string;
let config: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-maporl-'));
  await makeRandomModel(join(folder, 'model'));
  config = join(folder, 'teamtune.config.ts');
  await writeFile(config, configText);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the first step of a run measured. */
function firstMetrics(directory: string) {
  const run = openRun(directory, { mode: 'read' });
  const [step] = run.metrics();
  run.close();
  return step?.metrics ?? {};
}

describe('a run of MAPoRL', () => {
  let whole: string;

  beforeAll(async () => {
    whole = join(folder, 'whole');
    const { code, stderr } = await runCli(['train', config, '--output', whole]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  }, 300_000);

  test('trains every agent and its critic, and records what each answer was and earned', () => {
    const run = openRun(whole, { mode: 'read' });
    const { metrics } = run.metrics()[0] ?? { metrics: {} };
    for (const agent of ['ann', 'bob', 'cy']) {
      for (const name of ['reward', 'verdict', 'discussion', 'value-loss', 'update-seconds']) {
        expect(metrics, `${name}/${agent}`).toHaveProperty([`${name}/${agent}`]);
      }
    }
    expect(metrics).toHaveProperty(['accuracy/turn-3']);
    expect(run.discussions.scopes()).toEqual(['eval:base', '1', '2', '3', 'eval:trained']);
    expect(run.discussions.answersOf('eval:base').length).toBe(4 * 3 * 3);
    expect(run.discussions.answersOf(2).map(({ turn }) => turn)).toContain(2);
    expect(readdirSync(join(whole, 'checkpoints', 'step-000003', 'ann'))).toContain(
      'value_head.safetensors',
    );
    run.close();
  });

  test('killed in the midst of an update, it ends with the same numbers', async () => {
    const killed = join(folder, 'killed');
    const args = ['train', config, '--output', killed];
    // The rewards are recorded just before the policies and their critics move.
    const { code, stderr } = await killAtEach(args, [
      () => countRows(killed, 'discussion_answers', "action_id LIKE '2/%'") > 0,
    ]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(factsOf(killed)).toEqual(factsOf(whole));
  }, 300_000);

  test('agents of different architectures and tokenizers discuss and are trained together', async () => {
    const other = join(folder, 'other');
    const shape = { architecture: 'llama', hiddenSize: 32, headDim: 16, qkNorm: false } as const;
    await makeRandomModel(other, { ...shape, words: ['the', ' same', 'question'] });
    const output = join(folder, 'mixed');
    const mixed = ['--set', `model.agents={"bob":${JSON.stringify(other)}}`];
    const steps = ['--set', 'training.steps=1'];
    const { code, stderr } = await runCli([
      'train',
      config,
      '--output',
      output,
      ...mixed,
      ...steps,
    ]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const run = openRun(output, { mode: 'read' });
    const actions = run.actionsOf(1);
    const lengthOf = (agent: string) =>
      actions.find((one) => one.agent === agent && one.id.endsWith(`/${agent}.1.0`))?.observation
        .length ?? Number.NaN;
    // The same words are fewer tokens for the one whose tokenizer knows some of them.
    expect(lengthOf('bob')).toBeLessThan(lengthOf('ann'));
    const metrics = run.metrics()[0]?.metrics ?? {};
    expect(metrics['optimizer-steps/bob']).toBe(1);
    expect(metrics['logprob-gap/bob']).toBeLessThan(1e-3);
    // Both bases are in memory.
    const alone = openRun(whole, { mode: 'read' });
    const weights = alone.metrics()[0]?.metrics['weights-mebibytes'] ?? Number.NaN;
    expect(metrics['weights-mebibytes']).toBeGreaterThan(weights);
    alone.close();
    run.close();
    const shared = [...mixed, '--set', 'adapter.shared=true'];
    const refused = await runCli(['train', config, '--output', join(folder, 'no'), ...shared]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('cannot share an adapter');
  }, 300_000);

  test('scores are shown and weighted in evaluations, too, and a run that was killed there is shown the same', async () => {
    const voting = join(folder, 'voting.config.ts');
    const team = configText
      .replace('turns: 3 }', "turns: 2, showScores: true, decides: 'weighted' }")
      .replace(", verifier: 'coach'", '')
      // Every seventh answer has no score.
      .replace(/coach: .*/, (line) => `${line.slice(0, -1)} || { unscored: 'asleep' },`);
    await writeFile(voting, team);
    const args = ['train', voting, '--set', 'training.steps=1', '--output'];
    const [voted, killed] = [join(folder, 'voted'), join(folder, 'voted-killed')];
    const { code, stdout } = await runCli([...args, voted]);
    expect(code).toBe(0);
    // Four plays of three agents and two turns.
    expect(stdout).toMatch(/the coach was asked for 24 verdicts and left \d+ unscored; in \d of 4/);
    const run = openRun(voted, { mode: 'read' });
    const seen = run.actionsOf('eval:base').filter(({ id }) => id.endsWith('.1.0'));
    expect(seen.some(({ observationText }) => /answer 0\.\d00 of 1 \(/.test(observationText))).toBe(
      true,
    );
    expect([...run.feedbackOf('eval:trained').values()].map(({ kind }) => kind)).toContain(
      'unscored',
    );
    expect(run.metrics()[0]?.metrics).toHaveProperty(['unscored-plays']);
    run.close();
    const ended = await killAtEach(
      [...args, killed],
      [() => countRows(killed, 'shown_feedback', "action_id LIKE 'eval:base/%'") > 12],
    );
    expect(ended.code).toBe(0);
    expect(factsOf(killed)).toEqual(factsOf(voted));
    const nobody = await runCli([...args, join(folder, 'nobody'), '--set', 'coach=none']);
    expect(nobody.code).toBe(2);
    expect(nobody.stderr).toContain('whom team three asks while it plays, but it is missing');
  }, 300_000);

  test('opponents are trained together: what one earns the other pays', async () => {
    const competitive = join(folder, 'zero-sum.config.ts');
    await writeFile(competitive, zeroSumText);
    const output = join(folder, 'zero-sum');
    const { code, stderr } = await runCli(['train', competitive, '--output', output]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const metrics = firstMetrics(output);
    expect(metrics['discussion/A']).toBeGreaterThan(0);
    expect(metrics['discussion/A']).toBeCloseTo(-(metrics['discussion/B'] ?? 0), 9);
    expect([metrics['optimizer-steps/A'], metrics['optimizer-steps/B']]).toEqual([1, 1]);
  }, 120_000);

  test('one of them is trained against another that is frozen, whose answers are judged all the same', async () => {
    const competitive = join(folder, 'frozen.config.ts');
    await writeFile(competitive, zeroSumText);
    const output = join(folder, 'frozen');
    const frozen = ['--set', 'training.frozen=["B"]'];
    const { code, stderr } = await runCli(['train', competitive, '--output', output, ...frozen]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const metrics = firstMetrics(output);
    expect(metrics['discussion/A']).toBeCloseTo(-(metrics['discussion/B'] ?? 0), 9);
    expect(metrics['optimizer-steps/A']).toBe(1);
    expect(metrics).not.toHaveProperty(['optimizer-steps/B']);
  }, 120_000);

  test('a budget that ends in the midst of a step has all its answers judged by their grades', async () => {
    const limited = join(folder, 'limited.config.ts');
    await writeFile(limited, zeroSumText);
    const output = join(folder, 'limited');
    const budget = ['coaching.budget.calls=9', 'coaching.budget.whenSpent=outcome'];
    const sets = budget.flatMap((key) => ['--set', key]);
    const { code, stdout, stderr } = await runCli(['train', limited, '--output', output, ...sets]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain('the coaching budget is spent: in step 1');
    const run = openRun(output, { mode: 'read' });
    expect(run.metrics()[0]?.metrics).toMatchObject({ 'outcome-credit': 1, 'coach-calls': 9 });
    run.close();
  }, 120_000);

  test('a name that is no agent is refused before anything is played', async () => {
    const payoffs = ['--set', 'method={"kind":"maporl","payoffs":{"ann":{"bo":1}}}'];
    const { code, stderr } = await runCli(['train', config, ...payoffs]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      'method.payoffs: expected agents of team three (ann, bob, cy), got "bo"',
    );
  }, 60_000);
});
