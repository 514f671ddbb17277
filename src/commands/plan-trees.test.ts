import { expect, it } from 'vitest';
import { maltMethod } from '../config/method-schema.ts';
import { treeLoadOf } from './plan-trees.ts';

const agents = [
  { name: 'generator', maxTurns: 1, maxTokens: 4 },
  { name: 'verifier', maxTurns: 1, maxTokens: 5 },
  { name: 'refiner', maxTurns: 1, maxTokens: 2 },
];

function loadOf(options: object) {
  return treeLoadOf(maltMethod.parse({ kind: 'malt', ...options }), agents, 600);
}

it('counts what plays share once', () => {
  const { leaves, actions, sampledTokens, questions } = loadOf({});
  // 3 drafts, 9 critiques, 27 last words.
  expect({ leaves, actions, sampledTokens, questions }).toEqual({
    ...{ leaves: 27, actions: 39, questions: 600 },
    sampledTokens: 3 * 4 + 9 * 5 + 27 * 2,
  });
});

it('counts two epochs of every action, and four of at most two pairs below each of 3 drafts and 9 critiques', () => {
  // A pair: 4 epochs of two answers, and two under the reference.
  const { trainedActions, trainedTokens, stepsPerRound } = loadOf({});
  expect(trainedActions).toBe(2 * 39 + 10 * (3 * 2 + 9 * 2));
  expect(trainedTokens).toBe(2 * 111 + 10 * (3 * 2 * 5 + 9 * 2 * 2));
  expect(stepsPerRound).toBe(2);
  expect(loadOf({ objective: 'sft' })).toMatchObject({ trainedActions: 78, stepsPerRound: 1 });
});

it('holds trees to their budget, and branches where the method says', () => {
  expect(loadOf({ leavesPerQuestion: 5 })).toMatchObject({ leaves: 5, actions: 3 + 5 + 5 });
  expect(loadOf({ branching: [4, 2], questions: 10 })).toMatchObject({
    ...{ leaves: 8, actions: 4 + 8 + 8, questions: 10 },
  });
});
