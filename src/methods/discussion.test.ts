import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { emptyScene } from '../../test/support/empty-scene.ts';
import { sampleAction } from '../../test/support/sample-run.ts';
import type { Agent, Scene } from '../rollout/team.ts';
import type { Task } from '../types/task.ts';
import {
  type DiscussionOptions,
  discussionTeam,
  majorityText,
  weightedText,
} from './discussion.ts';
import { parseDiscussionFormat } from './discussion-format.ts';

type Name = 'ann' | 'bob' | 'cy';
const declaration = { role: 'Debater', maxTokens: 8 };
const agents = { ann: declaration, bob: declaration, cy: declaration };

/**
 * Plays a discussion whose agents answer from a list; returns what each was asked, and the team's answer.
 *
 * @param scores text → the coach's points for it
 */
async function played(
  answers: Readonly<Record<Name, readonly string[]>>,
  options: Partial<DiscussionOptions<Name>> = {},
  scores: Readonly<Record<string, number>> = {},
) {
  const asked: { agent: string; message: string; continues: boolean }[] = [];
  const playerOf = (agent: Name): Agent => ({
    act: async (message, { continue: continues = false } = {}) => {
      const turn = asked.filter((one) => one.agent === agent).length;
      asked.push({ agent, message, continues });
      await Promise.resolve();
      const text = answers[agent][turn] ?? '';
      return { text, actions: [sampleAction(`1/t/0/${agent}.${turn}.0`, { text })] };
    },
  });
  const team = discussionTeam({ name: 'three', agents, turns: 2, ...options });
  const players = { ann: playerOf('ann'), bob: playerOf('bob'), cy: playerOf('cy') };
  const judged: string[] = [];
  const scene: Scene = {
    ...emptyScene,
    showScore: async ({ text }) => {
      judged.push(text);
      return scores[text];
    },
  };
  const answer = await team.play({ id: 't', prompt: '2 + 2?' }, players, scene);
  return { asked, answer, judged, asksCoach: team.asksCoach };
}

const answers = { ann: ['3', '4'], bob: ['4', '4'], cy: ['5', '7'] };

describe('a discussion', () => {
  test('asks everybody alone, then shows each the others’ answers in its own conversation', async () => {
    const { asked, answer } = await played(answers);
    expect(asked.map(({ agent, continues }) => [agent, continues])).toEqual([
      ['ann', false],
      ['bob', false],
      ['cy', false],
      ['ann', true],
      ['bob', true],
      ['cy', true],
    ]);
    expect(asked[0]?.message).toMatch(/^2 \+ 2\?\n/);
    expect(asked[0]?.message).not.toContain('answered');
    const second = asked[4]?.message ?? '';
    expect(second).toContain('Answer of ann:\n```\n3\n```\n\nAnswer of cy:\n```\n5\n```');
    expect(second).not.toContain('of bob');
    expect(answer).toBe('4');
  });

  test('can begin a new conversation each turn, quoting what the agent said itself', async () => {
    const { asked } = await played(answers, { format: 'fresh' });
    expect(asked.every(({ continues }) => !continues)).toBe(true);
    expect(asked[3]?.message).toContain('Your answer was:\n```\n3\n```');
    expect(asked[3]?.message).toContain('This is turn 2 of 2.');
    expect(asked[3]?.message).toContain('bob answered in turn 1:');
  });

  test('shows the latest answers, or all of them', async () => {
    const three = { ann: ['1', '2', '3'], bob: ['11', '12', '13'], cy: ['21', '22', '23'] };
    const lastMessage = async (sees: 'latest' | 'history') =>
      (await played(three, { turns: 3, sees })).asked[6]?.message ?? '';
    expect(await lastMessage('latest')).not.toContain('11');
    expect(await lastMessage('history')).toMatch(/11.*21.*12.*22/s);
  });

  test('tells each agent its own part of a task where that is asked for', async () => {
    const taskFor = ({ prompt }: Task, agent: Name) => (agent === 'cy' ? prompt.slice(4) : prompt);
    const { asked } = await played(answers, { taskFor });
    expect(asked[0]?.message).toMatch(/^2 \+ 2\?\n/);
    expect(asked[2]?.message).toMatch(/^2\?\n/);
    expect(asked[5]?.message).not.toContain('2 + 2?');
  });

  test('answers with the last agent’s words where that is asked for', async () => {
    expect((await played(answers, { decides: 'last' })).answer).toBe('7');
  });

  test('shows every answer with its score where that is asked for, and those without a score bare', async () => {
    const scores = { 3: 2.5, 5: 8 };
    const { asked, judged, asksCoach } = await played(answers, { showScores: true }, scores);
    expect(asksCoach).toBe(true);
    // The last answers are read by nobody.
    expect(judged).toEqual(['3', '4', '5']);
    expect(asked[4]?.message).toContain(
      'Answer of ann:\n```\n3\n```\nThe verifier gives this answer 0.250 of 1 (poor).\n\nAnswer of cy:\n```\n5\n```\nThe verifier gives this answer 0.800 of 1 (very good).\n',
    );
    expect(asked[3]?.message).toContain('Answer of bob:\n```\n4\n```\n\nAnswer of cy:');
    const bare = await played(answers, {}, scores);
    expect(bare.judged).toEqual([]);
    expect(bare.asksCoach).toBeUndefined();
    expect(bare.asked[4]?.message).not.toContain('verifier');
  });

  test('lets the coach’s scores of the last answers decide where that is asked for', async () => {
    const scores = { 4: 4, 7: 9, 3: 10 };
    const weighted = await played(answers, { decides: 'weighted' }, scores);
    expect(weighted).toMatchObject({ answer: '7', judged: ['4', '4', '7'], asksCoach: true });
    expect((await played(answers, { decides: 'weighted' }, { ...scores, 4: 4.6 })).answer).toBe(
      '4',
    );
  });

  test('takes a format of the user’s and fills no slot that an answer holds', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'teamtune-format-')), 'mine.md');
    writeFileSync(
      file,
      "# First turn\n\n{{task}}{{agent}}\n\n# Later turns\n\n{{others}} {{turn}}/{{turns}}\n\n# Another's answer\n\n<{{answer}}>\n",
    );
    const { asked } = await played({ ...answers, bob: ['{{turn}}', ''] }, { format: file });
    expect(asked[0]?.message).toBe('2 + 2?ann');
    expect(asked[3]?.message).toBe('<{{turn}}>\n\n<5> 2/2');
    expect(() => discussionTeam({ name: 'x', agents, format: file, showScores: true })).toThrow(
      /showScores needs a format with the heading "# Its score", and .*mine\.md has none/,
    );
  });

  test('refuses a lone agent and a format that nobody can fill', () => {
    expect(() => discussionTeam({ name: 'one', agents: { ann: declaration } })).toThrow(
      /expected two agents or more/,
    );
    expect(() => discussionTeam({ name: 'x', agents, format: 'debat' })).toThrow(
      /expected debate, fresh or the path of a Markdown file, got debat/,
    );
    expect(() => parseDiscussionFormat('# First turn\na')).toThrow(/got "# First turn"$/);
    expect(() => parseDiscussionFormat('# A\n# B\n# C\n# D')).toThrow(/may end with "# Its score"/);
    const own = "# First turn\n{{own}}\n# Later turns\n\n# Another's answer\n";
    expect(() => parseDiscussionFormat(own)).toThrow(
      /\{\{own\}\} under "# First turn"; its slots are task, agent, turn, turns/,
    );
  });
});

const majorityOf = (texts: readonly string[]) => majorityText(texts.map((text) => ({ text })));

test('a majority counts answers that are the same number, and the first text that holds it speaks', () => {
  expect(majorityOf(['it is 3', 'so \\boxed{0.5}', 'I say \\boxed{1/2}'])).toBe('so \\boxed{0.5}');
  expect(majorityOf(['7', '8'])).toBe('7');
  expect(majorityOf(['nothing', 'no idea'])).toBe('no idea');
});

describe('a vote weighted with scores', () => {
  test('sums the scores of answers that are the same number', () => {
    const texts = [
      { text: 'it is 3', score: 6 },
      { text: 'so \\boxed{0.5}', score: 3 },
      { text: 'I say \\boxed{1/2}', score: 3.5 },
    ];
    expect(weightedText(texts)).toBe('so \\boxed{0.5}');
  });

  test('gives a tie to the agent that is declared first, also where all are worth nothing', () => {
    const tied = [
      { text: '1', score: 2 },
      { text: '2', score: 5 },
      { text: '1', score: 3 },
    ];
    expect(weightedText(tied)).toBe('1');
    expect(weightedText(tied.map(({ text }) => ({ text, score: 0 })).toReversed())).toBe('1');
  });

  test('leaves out what has no score, and falls back on the majority where nothing has one', () => {
    const texts = [{ text: '1' }, { text: '1' }, { text: '2', score: 0.5 }];
    expect(weightedText(texts)).toBe('2');
    expect(weightedText([...texts.slice(0, 2), { text: '2' }])).toBe('1');
    // A score for words without an answer is no vote.
    expect(weightedText([...texts.slice(0, 2), { text: 'no idea', score: 9 }])).toBe('1');
  });
});
