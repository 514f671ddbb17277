import { describe, expect, test } from 'vitest';
import type { Action } from '../types/trajectory.ts';
import { type Selection, selectRoleData, type ValuedAction } from './select-role-data.ts';

const paper: Selection = {
  ...{ threshold: 0.5, margin: 0, poolIdentical: false },
  ...{ distinctExamples: false, dropTruncated: true },
};

/** An action of one token after the observation that stands for its parent. */
function node(
  id: string,
  value: number,
  of: { readonly token: number; readonly parent?: string; readonly stop?: 'length' },
): ValuedAction {
  const action: Action = {
    ...{ id, agent: 'verifier', role: 'Verifier', turn: 1, seed: 0, text: id },
    ...{ policy: { id: 'verifier', version: 0 }, toolCalls: [], toolResults: [] },
    ...{ observationText: '', logprobs: Float32Array.of(-1), stop: of.stop ?? 'stop' },
    observation: Int32Array.from(Buffer.from(of.parent ?? 'root')),
    tokens: Int32Array.of(of.token),
  };
  return { action, value, leaves: 3, ...(of.parent === undefined ? {} : { parent: of.parent }) };
}

const ids = (actions: readonly Action[]) => actions.map(({ id }) => id);
const named = ({ pairs }: ReturnType<typeof selectRoleData>) =>
  pairs.map(({ preferred, rejected }) => `${preferred.id} > ${rejected.id}`);

describe('the paper’s rule', () => {
  const under = [
    node('a', 2 / 3, { token: 1, parent: 'g0' }),
    node('b', 1 / 3, { token: 2, parent: 'g0' }),
    node('c', 0.5, { token: 3, parent: 'g0' }),
    node('d', 1, { token: 4, parent: 'g1' }),
    node('e', 0, { token: 5, parent: 'g2' }),
  ];

  test('above ½ is positive, exactly ½ is not', () => {
    const { examples, labels } = selectRoleData(under, 0.5, paper);
    expect(ids(examples)).toEqual(['a', 'd']);
    expect(labels.get('c')).toEqual({
      ...{ value: 0.5, isPositive: false, dropped: 'at-most-threshold' },
    });
  });

  test('5/9 and 5/9 are examples of the figure’s generator, each preferred to 2/9', () => {
    const drafts = [5 / 9, 5 / 9, 2 / 9].map((value, g) => node(`g${g}`, value, { token: g }));
    const data = selectRoleData(drafts, 4 / 9, paper);
    expect(ids(data.examples)).toEqual(['g0', 'g1']);
    expect(named(data)).toEqual(['g0 > g2', 'g1 > g2']);
  });

  test('preferences are among children of one parent only', () => {
    expect(named(selectRoleData(under, 0.5, paper))).toEqual(['a > b', 'a > c']);
  });
});

describe('equal texts', () => {
  const twins = [
    node('a', 1, { token: 1, parent: 'g0' }),
    node('b', 1, { token: 1, parent: 'g0' }),
    node('c', 0, { token: 1, parent: 'g0' }),
    node('d', 0, { token: 2, parent: 'g0' }),
  ];

  test('are no pair, and a pair that comes twice counts once; examples keep their multiplicity', () => {
    const data = selectRoleData(twins, 0.5, paper);
    expect(named(data)).toEqual(['a > d']);
    expect(data.droppedPairs).toEqual({ 'equal-text': 2, duplicate: 1 });
    expect(ids(data.examples)).toEqual(['a', 'b']);
  });

  test('may be taken once as an example', () => {
    const data = selectRoleData(twins, 0.5, { ...paper, distinctExamples: true });
    expect(ids(data.examples)).toEqual(['a']);
    expect(data.labels.get('b')?.dropped).toBe('duplicate');
  });

  test('may pool their leaves: two of three right is 2/3 for all three', () => {
    const data = selectRoleData(twins, 0.5, { ...paper, poolIdentical: true });
    expect(data.labels.get('c')?.value).toBeCloseTo(2 / 3, 12);
    expect(ids(data.examples)).toEqual(['a', 'b', 'c']);
    expect(named(data)).toEqual(['a > d']);
  });
});

describe('options', () => {
  const four = [0.9, 0.6, 0.45, 0.1].map((value, at) => node(`n${at}`, value, { token: at }));

  test('a margin leaves out pairs that are nearly equal, a cap keeps the widest', () => {
    expect(named(selectRoleData(four, 0.5, { ...paper, margin: 0.4 }))).toEqual([
      ...['n0 > n2', 'n0 > n3', 'n1 > n3'],
    ]);
    const data = selectRoleData(four, 0.5, {
      ...paper,
      pairsPerQuestion: 1,
      examplesPerQuestion: 1,
    });
    expect(named(data)).toEqual(['n0 > n3']);
    expect(data.droppedPairs).toEqual({ 'over-cap': 3 });
    expect(data.labels.get('n1')?.dropped).toBe('over-cap');
  });

  test('a threshold of the question makes pairs where all are good, and keeps what never fails', () => {
    const good = [1, 0.9, 0.8].map((value, at) => node(`n${at}`, value, { token: at }));
    expect(named(selectRoleData(good, 0.85, paper))).toEqual([]);
    const byQuestion = { ...paper, threshold: 'question' } as const;
    expect(named(selectRoleData(good, 0.85, byQuestion))).toEqual(['n0 > n2', 'n1 > n2']);
    const perfect = [node('a', 1, { token: 1 }), node('b', 1, { token: 2 })];
    expect(ids(selectRoleData(perfect, 1, byQuestion).examples)).toEqual(['a', 'b']);
  });

  test('what was cut off teaches nobody, and may still be the worse of a pair', () => {
    const cut = [
      node('a', 1, { token: 1, stop: 'length' }),
      node('b', 1, { token: 2 }),
      node('c', 0, { token: 3, stop: 'length' }),
    ];
    const data = selectRoleData(cut, 0.5, paper);
    expect(ids(data.examples)).toEqual(['b']);
    expect(named(data)).toEqual(['b > c']);
    expect(data.droppedPairs).toEqual({ truncated: 1 });
  });
});
