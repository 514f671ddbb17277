import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { latestCheckpoint } from '../../src/checkpoint/checkpoint-directory.ts';
import { openRun } from '../../src/run/run-store.ts';
import { countRows, factsOf, killAtEach } from '../support/killed-training.ts';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';

const index = fileURLToPath(new URL('../../src/index.ts', import.meta.url));

/** Three agents in a row; a function judges the leaves by their tokens, so that a model of random weights has values. */
const configText = `
import { defineRun, defineTeam, malt } from ${JSON.stringify(index)};
const member = { role: 'Member', maxTokens: 4 };
const tasks = Array.from({ length: 6 }, (_, id) => ({ id: String(id), prompt: 'Add ' + id, answer: '1' }));
export default defineRun({
  name: 'three',
  team: defineTeam({
    name: 'three',
    agents: { generator: member, verifier: member, refiner: member },
    async play({ prompt }, { generator, verifier, refiner }) {
      const draft = await generator.act(prompt);
      const critique = await verifier.act(prompt + draft.text);
      return (await refiner.act(prompt + draft.text + critique.text)).text;
    },
  }),
  model: { path: './model', threads: 1 },
  adapter: { rank: 2, alpha: 4 },
  tasks: { train: tasks, heldOut: tasks.slice(0, 2) },
  coach: ({ action }) => action.tokens.reduce((sum, token) => sum + token, 0) % 11,
  method: malt({
    judge: 'coach',
    branching: [2, 2, 2],
    select: { dropTruncated: false },
    sft: { learningRate: 1e-2, epochs: 12, batchSize: 8 },
    dpo: { learningRate: 1e-3, epochs: 12, batchSize: 4 },
  }),
});
`;
let folder: string;
let config: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-malt-'));
  await makeRandomModel(join(folder, 'model'));
  config = join(folder, 'teamtune.config.ts');
  await writeFile(config, configText);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a run of MALT', () => {
  let whole: string;

  beforeAll(async () => {
    whole = join(folder, 'whole');
    const { code, stderr } = await runCli(['train', config, '--output', whole]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  }, 300_000);

  test('grows its trees in the first step, and trains on examples, then on preferences', () => {
    const { metrics, evaluations } = factsOf(whole);
    const [first, second] = metrics.map(({ values }) => Object.fromEntries(values));
    expect(metrics.map(({ step }) => step)).toEqual([1, 2]);
    expect(first).toMatchObject({ questions: 6, plays: 48, 'actions/verifier': 24 });
    // What the coach thinks of the leaves is not how many are right: a random model answers nothing.
    expect(first).toMatchObject({ accuracy: 0 });
    expect(first?.['leaf-value']).toBeGreaterThan(0.2);
    expect(first?.['sft-steps/generator']).toBeGreaterThan(0);
    expect(second?.['dpo-steps/refiner']).toBeGreaterThan(0);
    expect(second).not.toHaveProperty(['dpo-steps/generator']);
    expect(evaluations.map(({ name }) => name)).toEqual(['base', 'trained']);
    const report = readFileSync(join(whole, 'report.html'), 'utf8');
    expect(report).toContain('Trees of plays');
    expect(report).toMatch(/<small>example<\/small> .*<small>rejected/);
  });

  test('a coach is checked against what branches from the actions, each once', async () => {
    const args = ['rescore', whole, '--coach', config, '--as', 'check', '--sample', '40', '--json'];
    const { code, stdout, stderr } = await runCli(args);
    expect(code, stderr).toBe(0);
    const { actions, asked, agents } = JSON.parse(stdout);
    expect([actions, asked]).toEqual([40, 40]);
    // The rule that judged the leaves foretells them exactly, and drafts only in part.
    expect(agents.refiner.meanAbsoluteDifference.value).toBeCloseTo(0, 9);
    expect(agents.generator.meanAbsoluteDifference.value).toBeGreaterThan(0.5);
  }, 180_000);

  test('its credit is not derived anew, and it says why', async () => {
    const { code, stderr } = await runCli(['rescore', whole, '--credit', 'maporl']);
    expect(code).toBe(3);
    expect(stderr).toContain('was trained on examples and preferences');
  }, 60_000);

  test('evaluated with an agent left untrained, that one plays as the base and the others as trained', async () => {
    const { directory: checkpoint = '' } = latestCheckpoint(whole) ?? {};
    const output = join(folder, 'untrained');
    const args = ['evaluate', config, '--checkpoint', checkpoint, '--output', output];
    const unknown = await runCli([...args, '--untrained', 'critic']);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('no agent critic to be left untrained; it has generator, ');
    const { code, stderr } = await runCli([...args, '--untrained', 'verifier']);
    expect(code, stderr).toBe(0);
    const run = openRun(output, { mode: 'read' });
    const played = run.actionsOf('eval:evaluation').map(({ agent, policy }) => [agent, policy.id]);
    run.close();
    expect(Object.fromEntries(played)).toEqual({
      ...{ generator: 'generator', verifier: 'reference', refiner: 'refiner' },
    });
  }, 180_000);

  test('killed while trees grow, in SFT and in DPO, it ends with the same numbers', async () => {
    const killed = join(folder, 'killed');
    const args = ['train', config, '--output', killed];
    const count = (table: string, where: string) => countRows(killed, table, where);
    const moments: readonly (() => boolean)[] = [
      () => count('actions', "scope = '1'") > 20,
      // Every leaf is judged: what follows is supervised training.
      () => count('feedback', "action_id LIKE '1/%'") === 48,
      () => count('steps', 'step = 1') === 1,
    ];
    const { code, stderr } = await killAtEach(args, moments);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(factsOf(killed)).toEqual(factsOf(whole));
  }, 300_000);

  test('a collapse of preferred answers stops it with what to change, and it goes on with that', async () => {
    const output = join(folder, 'collapsed');
    const args = ['train', config, '--output', output];
    const harsh = ['--set', 'method.dpo.collapseBelow=-1e-9', '--set', 'method.dpo.anchor=0'];
    const wild = ['--set', 'method.dpo.learningRate=0.1'];
    const stopped = await runCli([...args, ...harsh, ...wild]);
    expect(stopped.code).toBe(3);
    expect(stopped.stderr).toContain('--resume and a smaller method.dpo.learningRate');
    const resumed = await runCli([...args, '--resume']);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(factsOf(output).metrics).toEqual(factsOf(whole).metrics);
  }, 300_000);

  test('an agent that is none is refused, and so is an option that does not exist', async () => {
    const agents = await runCli(['train', config, '--set', 'method.dpo.agents=["critic"]']);
    expect(agents.stderr).toContain('method.dpo.agents: expected agents of team three');
    const option = await runCli(['train', config, '--set', 'method.treshold=1']);
    expect(option.stderr).toMatch(/unknown key method\.treshold \(did you mean method\.\w+\?\)/);
  }, 180_000);
});
