import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeRandomModel } from '../../test/support/make-random-model.ts';
import { resolveConfig } from '../config/load-config.ts';
import { discussionTeam } from '../methods/discussion.ts';
import { totalMemory } from '../service/local/plan-memory.ts';
import { memoryOf, type Workload } from './plan-run.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-plan-run-'));
  await makeRandomModel(join(folder, 'model'));
  await cp(join(folder, 'model'), join(folder, 'own'), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('an agent with a model of its own costs that model, and its policy is trained there instead', async () => {
  const agent = { role: 'Debater', maxTokens: 6 };
  const team = discussionTeam({ name: 'two', agents: { ann: agent, bob: agent }, turns: 2 });
  const tasks = { train: [{ id: '1', prompt: 'Add', answer: '1' }] };
  const load = { context: 64, actionTokens: 6, playsPerStep: 4 } as Workload;
  const planOf = async (agents?: Readonly<Record<string, string>>) => {
    const model = { path: join(folder, 'model'), ...(agents && { agents }) };
    const method = { kind: 'maporl', verifier: 'grade' } as const;
    const input = { name: 'two', team, model, tasks, method };
    return memoryOf(resolveConfig(input, { directory: folder, where: 'two' }), load);
  };
  const { memory: one } = await planOf();
  const { memory: two } = await planOf({ bob: join(folder, 'own') });
  expect(two.adapters).toBe(one.adapters / 2);
  expect(two.activations).toBe(one.activations);
  expect(totalMemory(two) - totalMemory(one)).toBe(one.weights + one.cache);
});
