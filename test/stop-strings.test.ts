import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { playTask, type Stage } from '../src/rollout/play-task.ts';
import { defineTeam } from '../src/rollout/team.ts';
import { defaultLimits } from '../src/sandbox/limits.ts';
import { openWorkspaces } from '../src/sandbox/workspaces.ts';
import { createLocalTrainingService } from '../src/service/local/local-training-service.ts';
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts';
import type { Action } from '../src/types/trajectory.ts';
import { makeRandomModel } from './support/make-random-model.ts';

test('an agent’s stop strings end its actions at the token that completes one, and the play goes on', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'teamtune-stop-'));
  await makeRandomModel(folder);
  const tokenizer = await loadTokenizer(folder);
  const service = await createLocalTrainingService({
    modelDirectory: folder,
    decode: tokenizer.decode,
  });
  const sampler = await service.baseSampler();
  const workspaces = openWorkspaces(join(folder, 'workspaces'), defaultLimits);
  const play = async (stopStrings: readonly string[]): Promise<readonly Action[]> => {
    const talker = { role: 'Talker', maxTokens: 24, stopStrings };
    const team = defineTeam({
      name: 'talkers',
      agents: { talker, other: { role: 'Other', maxTokens: 4 } },
      play: async ({ prompt }, { talker, other }) =>
        (await other.act((await talker.act(prompt)).text)).text,
    });
    const samplers = new Map([
      ['talker', sampler],
      ['other', sampler],
    ]);
    const stage: Stage = {
      ...{ team, tokenizer, workspaces, samplers, seed: 1, scope: '1', temperature: 1 },
      ...{ playTimeoutMs: 600_000, maxActionTokens: 24, maxActions: 4 },
      ...{ finished: new Map(), tools: new Map(), stop: new AbortController().signal },
      ...{ onAction: () => undefined, verdictOn: async () => undefined },
    };
    const { actions, failure } = await playTask(stage, { id: 't', prompt: 'Say something.' }, 0);
    expect(failure).toBeUndefined();
    return actions;
  };
  const [free] = (await play([])) as [Action];
  // Ids of a byte-level tokenizer are single bytes here: one in the middle that is a letter of its own.
  const at = [...free.tokens].findIndex(
    (id, index) => index >= 4 && /^[!-~]$/.test(tokenizer.decode([id])),
  );
  const stop = tokenizer.decode([free.tokens[at] ?? 0]);
  const end = [...free.tokens].findIndex((id) => tokenizer.decode([id]).includes(stop)) + 1;
  const [stopped, next] = (await play([stop])) as [Action, Action];
  expect(at).toBeGreaterThan(0);
  expect([...stopped.tokens]).toEqual([...free.tokens.subarray(0, end)]);
  expect(stopped.stop).toBe('stop');
  expect(stopped.text.endsWith(stop)).toBe(true);
  expect(next.observationText).toContain(stopped.text);
  expect(next.tokens.length).toBe(4);
  await service.close();
  await workspaces.close();
  await rm(folder, { recursive: true, force: true });
});
