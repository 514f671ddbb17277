import { readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { countRows, factsOf, killWhen } from '../support/killed-training.ts';
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
let folder: string;
let config: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-maporl-'));
  await makeRandomModel(join(folder, 'model'));
  config = join(folder, 'teamtune.config.ts');
  await writeFile(config, configText);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a run of MAPoRL', () => {
  let whole: string;

  beforeAll(async () => {
    whole = join(folder, 'whole');
    const { code, stderr } = await runCli(['train', config, '--output', whole]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  }, 120_000);

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

  test('killed in the midst of an update and of a checkpoint, it ends with the same numbers', async () => {
    const killed = join(folder, 'killed');
    const args = ['train', config, '--output', killed];
    const count = (table: string, where: string) => countRows(killed, table, where);
    const moments: readonly (() => boolean)[] = [
      // The rewards are recorded just before the policies and their critics move.
      () => count('discussion_answers', "action_id LIKE '2/%'") > 0,
      () => readdirSync(join(killed, 'checkpoints')).some((name) => name.startsWith('step-000002')),
    ];
    for (const [kill, hasCome] of moments.entries()) {
      const { signal, stderr } = await killWhen(
        [...args, ...(kill === 0 ? [] : ['--resume'])],
        hasCome,
      );
      expect(signal, `kill ${kill} came too late: ${stderr}`).toBe('SIGKILL');
    }
    const { code, stderr } = await runCli([...args, '--resume']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(factsOf(killed)).toEqual(factsOf(whole));
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
