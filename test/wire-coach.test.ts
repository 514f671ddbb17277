import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveConfig } from '../src/config/load-config.ts';
import type { CoachChoice } from '../src/config/schema.ts';
import { defineTeam } from '../src/rollout/team.ts';
import { refuseAnotherRubric, rubricHashOf, verdictKeysOf } from '../src/wire-coach.ts';

const folder = mkdtempSync(join(tmpdir(), 'teamtune-rubric-'));
const agents = { solver: { role: 'Solver', maxTokens: 8 } };
const team = defineTeam({ name: 'one', agents, play: async () => '' });

function configWith(rubric: string, coach: CoachChoice = 'google/x') {
  return resolveConfig(
    {
      ...{ name: 'r', team, coach, coaching: { rubric } },
      ...{ model: { path: 'm' }, tasks: { train: 't' } },
    },
    { where: 'the test', overrides: [], directory: folder },
  );
}

test('A run goes on with the rubric that it began with, wherever it lies, and with no other', () => {
  const [first, copy] = [join(folder, 'first.md'), join(folder, 'copy.md')];
  for (const path of [first, copy]) writeFileSync(path, 'Judge. {{fence}} {{written}} {{verdict}}');
  const stored = { coaching: rubricHashOf(configWith(first)) };
  expect(() => refuseAnotherRubric('runs/a', stored, configWith(copy))).not.toThrow();
  writeFileSync(first, 'Judge mildly. {{fence}} {{written}} {{verdict}}');
  expect(() => refuseAnotherRubric('runs/a', stored, configWith(first))).toThrow(
    /coaching\.rubric: the actions of runs\/a were judged by another text than .*first\.md has now/,
  );
  expect(() => refuseAnotherRubric('runs/a', stored, configWith('mathchat'))).toThrow('--output');
});

test('Whoever judges without a rubric is not held to one', () => {
  expect(rubricHashOf(configWith('mathchat', () => 5))).toEqual({});
  const stored = { coaching: { rubricHash: 'of another text' } };
  const own = configWith('mathchat', () => 5);
  expect(() => refuseAnotherRubric('runs/a', stored, own)).not.toThrow();
});

test('What can change a verdict is told apart from what cannot', () => {
  expect(verdictKeysOf(configWith('mathchat'))).toEqual({
    ...{ showAnswer: false, showOutcome: false, maxReplyTokens: 8192 },
    rubricHash: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});
