import { describe, expect, test } from 'vitest';
import type { CreditedAction } from '../types/credit.ts';
import type { Action } from '../types/trajectory.ts';
import { actionPart, assembleCriticData, assembleData, datumOf } from './assemble-data.ts';

function action(observation: number[], tokens: number[], logprobs: number[]): Action {
  return {
    ...{
      id: 'a',
      agent: 'solver',
      role: 'Solver',
      turn: 0,
      seed: 0,
      text: '',
      observationText: '',
    },
    ...{ policy: { id: 'solver', version: 0 }, toolCalls: [], toolResults: [], stop: 'stop' },
    observation: Int32Array.from(observation),
    tokens: Int32Array.from(tokens),
    logprobs: Float32Array.from(logprobs),
  };
}

const first = action([5, 6, 7], [8, 9], [-0.5, -1]);
const second = action([5], [6, 7, 8, 9], [-1, -2, -3, -4]);

test('the first sampled token is predicted from the whole observation, and nothing before it is trained', () => {
  const { input, target, weights, oldLogprobs } = datumOf(first);
  expect([...input]).toEqual([5, 6, 7, 8]);
  expect([...target]).toEqual([6, 7, 8, 9]);
  expect([...(weights ?? [])]).toEqual([0, 0, 1, 1]);
  expect([...(oldLogprobs ?? [])]).toEqual([0, 0, -0.5, -1]);
});

test('what belongs to the action is found again', () => {
  expect([...actionPart(first, Float32Array.from([1, 2, 3, 4]))]).toEqual([3, 4]);
  expect([...actionPart(second, Float32Array.from([1, 2, 3, 4]))]).toEqual([1, 2, 3, 4]);
});

describe('averages', () => {
  const credited: CreditedAction[] = [
    { action: first, reward: 1, advantages: Float32Array.from([2, 3]) },
    { action: second, reward: 0, advantages: Float32Array.from([-1, -1, -1, -1]) },
  ];

  test('by token, all six tokens weigh a sixth', () => {
    const [one, two] = assembleData(credited, { average: 'token', behaviourRatioLimit: 2 });
    expect([...(one?.weights ?? [])]).toEqual([0, 0, Math.fround(1 / 6), Math.fround(1 / 6)]);
    expect([...(two?.weights ?? [])]).toEqual(Array(4).fill(Math.fround(1 / 6)));
    expect([...(one?.advantages ?? [])]).toEqual([0, 0, 2, 3]);
  });

  test('by action, the short action’s tokens weigh more', () => {
    const [one, two] = assembleData(credited, { average: 'action', behaviourRatioLimit: 2 });
    expect([...(one?.weights ?? [])]).toEqual([0, 0, 0.25, 0.25]);
    expect([...(two?.weights ?? [])]).toEqual(Array(4).fill(0.125));
  });
});

test('a token counts as often as the policy itself would have drawn it, up to the limit', () => {
  // Sampled with probabilities 1/2 and 1/8 where the policy has 1/4 and 1: ratios 1/2 and 8, held at 3.
  const shaped: Action = {
    ...first,
    logprobs: Float32Array.of(Math.log(0.25), 0),
    behaviourLogprobs: Float32Array.of(Math.log(0.5), Math.log(0.125)),
  };
  const credited = [{ action: shaped, reward: 1, advantages: Float32Array.of(1, 1) }];
  const [datum] = assembleData(credited, { average: 'token', behaviourRatioLimit: 3 });
  const weights = [...(datum?.weights ?? [])];
  expect(weights.slice(0, 2)).toEqual([0, 0]);
  expect(weights[2]).toBeCloseTo(0.25, 6);
  expect(weights[3]).toBeCloseTo(1.5, 6);
  expect([...(datum?.oldLogprobs ?? [])]).toEqual([0, 0, ...shaped.logprobs]);
});

test('where the policy has moved, tokens count as often as it would draw them now, and the loss starts from it', () => {
  // Sampled with 1/2 and 1/8; now drawn with 1/4 and 1/2: ratios 1/2 and 4, the latter held at 3.
  const sampled = { ...first, logprobs: Float32Array.of(Math.log(0.5), Math.log(0.125)) };
  const now = Float32Array.of(Math.log(0.25), Math.log(0.5));
  const credited = [{ action: sampled, reward: 1, advantages: Float32Array.of(1, 1) }];
  const [datum] = assembleData(credited, {
    ...{ average: 'token', behaviourRatioLimit: 3 },
    current: new Map([[sampled.id, now]]),
  });
  const weights = [...(datum?.weights ?? [])];
  expect(weights[2]).toBeCloseTo(0.25, 6);
  expect(weights[3]).toBeCloseTo(1.5, 6);
  expect([...(datum?.oldLogprobs ?? [])]).toEqual([0, 0, ...now]);
});

test('a critic learns the tokens of actions that it judged, every one the same', () => {
  const critic = { values: Float32Array.of(0.25, 0.5), returns: Float32Array.of(1, 2) };
  const credited: CreditedAction[] = [
    { action: first, reward: 1, advantages: Float32Array.from([2, 3]), critic },
    { action: second, reward: 0, advantages: Float32Array.from([-1, -1, -1, -1]) },
  ];
  const data = assembleCriticData(credited, 0.5);
  expect(data.length).toBe(1);
  const { weights = [], returns = [], oldValues = [] } = data[0] ?? {};
  expect([...weights]).toEqual([0, 0, 0.25, 0.25]);
  expect([...returns]).toEqual([0, 0, 1, 2]);
  expect([...oldValues]).toEqual([0, 0, 0.25, 0.5]);
});
