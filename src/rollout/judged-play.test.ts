import { expect, test, vi } from 'vitest';
import { emptyScene } from '../../test/support/empty-scene.ts';
import { BoundaryError } from '../errors.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Sampler } from '../types/training-service.ts';
import type { Action } from '../types/trajectory.ts';
import { playTask, type Stage } from './play-task.ts';
import { defineTeam, type Team } from './team.ts';

/** Letters are their own tokens; 0 ends a turn. */
const lettersOf = (text: string) => Int32Array.from(text, (letter) => letter.charCodeAt(0));
const tokenizer: Tokenizer = {
  ...{
    vocabSize: 128,
    takesTools: false,
    eosTokenIds: [0],
    encode: lettersOf,
    encodePlain: lettersOf,
  },
  decode: (ids) => [...ids].map((id) => String.fromCharCode(id)).join(''),
  renderChat: (messages) => messages.map(({ content }) => content).join('\n'),
  encodeChat: (messages) => lettersOf(messages.map(({ content }) => content).join('\n')),
  extendChat: ({ ids }) => ids,
};
const task = { id: 't', prompt: 'p' };
const agents = { first: { role: 'First', maxTokens: 4 }, second: { role: 'Second', maxTokens: 4 } };

/** Says its letters in turn, and keeps what it heard. */
function speaker(letters: string, gate: Promise<void> = Promise.resolve()) {
  const heard: string[] = [];
  const sampler: Sampler = {
    ...{ policyId: 'p', version: 0, logprobs: async () => new Float32Array() },
    sample: async (prompt) => {
      await gate;
      const tokens = Int32Array.of(letters.charCodeAt(heard.push(tokenizer.decode(prompt)) - 1), 0);
      return { tokens, logprobs: new Float32Array(2), stop: 'stop', version: 0 };
    },
  };
  return { sampler, heard };
}

function stageOf(team: Team, samplers: Record<string, Sampler>, changes: Partial<Stage> = {}) {
  const recorded: Action[] = [];
  const workspace = {
    ...emptyScene.files,
    restore: async () => undefined,
  };
  const stage = {
    ...{ team, tokenizer, seed: 1, scope: '1', temperature: 1, tools: new Map() },
    ...{ playTimeoutMs: 60_000, maxActionTokens: 4, maxActions: 9, finished: new Map() },
    ...{ samplers: new Map(Object.entries(samplers)), stop: new AbortController().signal },
    workspaces: { open: async () => workspace },
    onAction: (action: Action) => recorded.push(action),
    verdictOn: async () => undefined,
    ...changes,
  } as unknown as Stage;
  return { stage, recorded };
}

test('an action can be judged when all before it have ended, with those before it, resumed or not', async () => {
  const team = defineTeam({
    ...{ name: 'pair', agents },
    play: async (_task, { first, second }) => {
      await Promise.all([first.act('go'), second.act('go')]);
      return (await first.act('again')).text;
    },
  });
  const gate = Promise.withResolvers<void>();
  const judgeable: string[] = [];
  const onJudgeable: Stage['onJudgeable'] = ({ action, earlier }) => {
    judgeable.push(`${action.text} after ${earlier.map(({ text }) => text).join('')}`);
  };
  const late = speaker('AC', gate.promise).sampler;
  const samplers = { first: late, second: speaker('B').sampler };
  const { stage, recorded } = stageOf(team, samplers, { onJudgeable });
  const play = playTask(stage, task, 0);
  await vi.waitUntil(() => recorded.length === 1);
  // The second agent has ended; the first, asked before it, has not.
  expect(judgeable).toEqual([]);
  gate.resolve();
  const { actions } = await play;
  expect(judgeable).toEqual(['A after ', 'B after A', 'C after AB']);
  // Whichever of the two ended last.
  expect(actions.map(({ parent }) => parent)).toEqual([undefined, undefined, actions[1]?.id]);
  const finished = new Map(actions.map((action) => [action.id, action]));
  await playTask(stageOf(team, {}, { finished, onJudgeable }).stage, task, 0);
  expect(judgeable.slice(3)).toEqual(judgeable.slice(0, 3));
});

test('a play that asks for the coach’s words or points waits for them and can hand them on', async () => {
  const team = defineTeam({
    ...{ name: 'pair', agents },
    play: async (_task, { first, second }, { showFeedback, showScore }) => {
      const acted = await first.act('go');
      const [words, score] = [await showFeedback(acted), await showScore(acted)];
      return (await second.act(`The coach says: ${words} (${score})`)).text;
    },
  });
  const second = speaker('B');
  const verdictOn: Stage['verdictOn'] = async ({ action, earlier }) => {
    return { words: `${action.text} is fine`, score: earlier.length };
  };
  const samplers = { first: speaker('A').sampler, second: second.sampler };
  const { stage } = stageOf(team, samplers, { verdictOn });
  expect((await playTask(stage, task, 0)).answer).toBe('B');
  expect(second.heard).toEqual(['The coach says: A is fine (0)']);
});

test('the time that a play waits for the coach does not count', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  try {
    const team = defineTeam({
      ...{ name: 'pair', agents },
      play: async (_task, { first, second }, { showScore }) => {
        await showScore(await first.act('go'));
        return (await second.act('on')).text;
      },
    });
    const [asked, judged] = [Promise.withResolvers<void>(), Promise.withResolvers<undefined>()];
    const verdictOn: Stage['verdictOn'] = () => {
      asked.resolve();
      return judged.promise;
    };
    const samplers = { first: speaker('A').sampler, second: speaker('B').sampler };
    const { stage } = stageOf(team, samplers, { verdictOn });
    const play = playTask(stage, task, 0);
    await asked.promise;
    vi.advanceTimersByTime(2 * stage.playTimeoutMs);
    judged.resolve(undefined);
    expect(await play).toMatchObject({ answer: 'B' });
  } finally {
    vi.useRealTimers();
  }
});

test('a team that catches the loss of its server does not play on without the agent', async () => {
  const lost = new BoundaryError('engine', 'it has forgotten this session', { retryable: true });
  const team = defineTeam({
    ...{ name: 'stubborn', agents },
    play: async ({ prompt }, { first, second }) => {
      const heard = await first.act(prompt).catch(() => undefined);
      return heard?.text ?? (await second.act('go on alone')).text;
    },
  });
  const second = speaker('B');
  const gone = { ...speaker('A').sampler, sample: () => Promise.reject(lost) };
  const { stage } = stageOf(team, { first: gone, second: second.sampler });
  await expect(playTask(stage, task, 0)).rejects.toBe(lost);

  const refused = new BoundaryError('engine', 'the prompt is too long');
  const full = { ...gone, sample: () => Promise.reject(refused) };
  const kept = stageOf(team, { first: full, second: second.sampler });
  expect(await playTask(kept.stage, task, 0)).toMatchObject({ answer: 'B' });
});
