import { expect, test } from 'vitest';
import {
  type BranchedAction,
  branchAgreementOf,
  branchValueOf,
  worstDisagreements,
} from './branch-agreement.ts';

/** An action of `solver` with its points, and leaves right of four before and after it. */
function actionWith(
  actionId: string,
  { score, before, after }: { score: number; before: number; after: number },
): BranchedAction {
  const valueAt = (right: number) => branchValueOf([0, 1, 2, 3].map((leaf) => leaf < right));
  return {
    ...{ actionId, agent: 'solver', taskId: actionId, score, reason: '', isLast: false },
    ...{ before: valueAt(before), after: valueAt(after) },
  };
}

test('leaves that broke or have no grade are counted, and change no value', () => {
  const { low, high, ...value } = branchValueOf([true, false, undefined, null, true, true]);
  expect(value).toEqual({ value: 0.75, right: 3, graded: 4, failed: 1 });
  // Wilson at 3 of 4: centre (.75 + 3.8415/8) / (1 + 3.8415/4) = .6276, half width .3269.
  expect([low, high]).toEqual([expect.closeTo(0.3006, 3), expect.closeTo(0.9544, 3)]);
  expect(branchValueOf([undefined, null])).toEqual({ right: 0, graded: 0, failed: 1 });
});

test('points are compared with values and with effects, and the noise of the values is told', () => {
  const actions = [
    actionWith('a', { score: 2, before: 2, after: 0 }),
    actionWith('b', { score: 4, before: 2, after: 2 }),
    actionWith('c', { score: 6, before: 4, after: 4 }),
  ];
  const { solver } = branchAgreementOf(actions, ['writer', 'solver']);
  expect(solver).toMatchObject({ actions: 3, unvalued: 0 });
  expect(solver?.score?.value).toBeCloseTo(4, 12);
  expect(solver?.value?.value).toBeCloseTo(0.5, 12);
  // Values 0, ½, 1 rise by as much as the points.
  expect(solver?.correlation?.value).toBeCloseTo(1, 12);
  // Effects −½, 0, 0: mean −1/6, covariance with the points 1/3, deviations √(8/3) and √(1/18).
  expect(solver?.effect?.value).toBeCloseTo(-1 / 6, 12);
  expect(solver?.effectCorrelation?.value).toBeCloseTo(Math.sqrt(3) / 2, 12);
  // Noise ½·½/3 in one of three; variance of 0, ½, 1 is ¼.
  expect(solver?.reliability).toBeCloseTo(1 - 1 / 12 / 3 / (1 / 4), 12);
});

test('what does not exist is left out: a correlation of equal scores, a value without leaves', () => {
  const broken = { ...actionWith('c', { score: 9, before: 1, after: 1 }) };
  const actions = [
    actionWith('a', { score: 5, before: 0, after: 0 }),
    actionWith('b', { score: 5, before: 0, after: 4 }),
    { ...broken, after: branchValueOf([undefined]) },
  ];
  const { solver } = branchAgreementOf(actions, ['solver']);
  expect(solver).toMatchObject({ actions: 2, unvalued: 1, reliability: 1 });
  expect(solver).not.toHaveProperty('correlation');
  expect(worstDisagreements(actions, 2).map(({ actionId }) => actionId)).toEqual(['a', 'b']);
  expect(worstDisagreements(actions, 1)).toHaveLength(1);
  const agreeing = actionWith('d', { score: 10, before: 4, after: 4 });
  expect(worstDisagreements([agreeing], 1)).toEqual([]);
});
