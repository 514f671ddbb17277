import { describe, expect, it } from 'vitest';
import type { Feedback, Outcome } from '../types/feedback.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { assignCredit, type CreditInput } from './assign-credit.ts';

const options = { credit: 'coach', klCoefficient: 0.01, gamma: 1, sigmaFloor: 1e-3 } as const;

type ActionSketch = {
  readonly id: string;
  readonly agent: string;
  readonly logprobs: readonly number[];
  readonly stop?: 'stop' | 'length';
};

function action({ id, agent, logprobs, stop = 'stop' }: ActionSketch): Action {
  return {
    id,
    agent,
    role: agent,
    policy: { id: agent, version: 0 },
    turn: 0,
    seed: 1,
    observation: Int32Array.of(1),
    observationText: '',
    tokens: Int32Array.from(logprobs, () => 2),
    logprobs: Float32Array.from(logprobs),
    text: '',
    toolCalls: [],
    toolResults: [],
    stop,
  };
}

const trajectory = (id: string, actions: readonly Action[], broken = false): Trajectory => ({
  id,
  taskId: `task of ${id}`,
  sample: 0,
  actions,
  ...(broken ? { failure: { boundary: 'policy', message: 'broke' } } : {}),
});

const points = (score: number) => ({ score, reason: '', blame: 'none' }) as const;

function inputOf(
  trajectories: readonly Trajectory[],
  scores: Readonly<Record<string, number>>,
  outcomes: Readonly<Record<string, boolean>> = {},
): CreditInput {
  const actions = trajectories.flatMap((played) => played.actions);
  return {
    trajectories,
    feedback: new Map(
      actions.map(({ id }): [string, Feedback] => [
        id,
        scores[id] === undefined
          ? { kind: 'unscored', actionId: id, cause: 'timeout' }
          : { kind: 'scored', actionId: id, ...points(scores[id]) },
      ]),
    ),
    outcomes: new Map(
      Object.entries(outcomes).map(([id, correct]): [string, Outcome] => [
        id,
        { trajectoryId: id, correct },
      ]),
    ),
    // The reference gives every token probability 1, so that the k1 of a token is its log-probability.
    referenceLogprobs: new Map(
      actions.map(({ id, tokens }) => [id, new Float32Array(tokens.length)]),
    ),
  };
}

const worked = [
  trajectory('t1', [action({ id: 'A', agent: 'solver', logprobs: [0.1, 0, 0.2] })]),
  trajectory('t2', [action({ id: 'B', agent: 'solver', logprobs: [0, -0.1] })]),
];

describe('assignCredit', () => {
  it('reproduces the worked example of REINFORCE++ with its metrics', () => {
    const { credited, metrics } = assignCredit(options, inputOf(worked, { A: 8, B: 2 }));
    expect(credited.map((entry) => entry.reward)).toEqual([0.8, 0.2]);
    const advantages = credited.flatMap((entry) => [...entry.advantages]);
    for (const [token, expected] of [0.8142, 0.8176, 0.8176, -1.2247, -1.2247].entries()) {
      expect(advantages[token]).toBeCloseTo(expected, 4);
    }
    expect(metrics['reward/solver']).toBeCloseTo(0.5, 9);
    expect(metrics['kl/solver']).toBeCloseTo(0.04, 6);
    expect(metrics['advantage-std/solver']).toBeCloseTo(1, 6);
    expect(metrics).toMatchObject({
      'unscored/solver': 0,
      'excluded/solver': 0,
      'uniform/solver': 0,
    });
  });

  it('keeps the agents apart: a change of one agent changes nothing for another', () => {
    const withVerifier = (high: number) => {
      const played = worked.map((path, index) =>
        trajectory(path.id, [
          ...path.actions,
          action({ id: `V${index}`, agent: 'verifier', logprobs: [0] }),
        ]),
      );
      const { credited } = assignCredit(options, inputOf(played, { A: 8, B: 2, V0: high, V1: 1 }));
      return credited.filter((entry) => entry.action.agent === 'solver');
    };
    expect(withVerifier(2)).toEqual(withVerifier(10));
  });

  it('gives the same, in the same order, whatever order the trajectories came in', () => {
    const forward = assignCredit(options, inputOf(worked, { A: 8, B: 2 }));
    const backward = assignCredit(options, inputOf(worked.toReversed(), { A: 8, B: 2 }));
    expect(backward).toEqual(forward);
    expect(forward.credited.map((entry) => entry.action.id)).toEqual(['A', 'B']);
  });

  it('gives unscored actions and failed trajectories no credit and no part in the statistics', () => {
    const extra = [
      trajectory('t3', [action({ id: 'C', agent: 'solver', logprobs: [-5] })]),
      trajectory('t4', [action({ id: 'D', agent: 'solver', logprobs: [-5] })], true),
    ];
    const clean = assignCredit(options, inputOf(worked, { A: 8, B: 2 }));
    const mixed = assignCredit(options, inputOf([...worked, ...extra], { A: 8, B: 2, D: 0 }));
    expect(mixed.credited).toEqual(clean.credited);
    expect(mixed.metrics).toEqual({ ...clean.metrics, 'unscored/solver': 1, 'excluded/solver': 1 });
  });

  it('does not blow the divergence up when all rewards are equal, and says so', () => {
    const { credited, metrics } = assignCredit(options, inputOf(worked, { A: 5, B: 5 }));
    expect(credited).toEqual([]);
    expect(metrics).toMatchObject({ 'uniform/solver': 1, 'advantage-std/solver': 0 });
  });

  it('gives a lone scored action no credit: there is nothing to compare it with', () => {
    const { credited, metrics } = assignCredit(options, inputOf(worked, { A: 9 }));
    expect(credited).toEqual([]);
    expect(metrics).toMatchObject({ 'uniform/solver': 1, 'unscored/solver': 1 });
  });

  it.each(['rloo', 'grpo', 'reinforce-baseline'] as const)(
    'nor are actions that %s compares with their equals alone',
    (estimator) => {
      // Three of each task, whose sum is not three times the score to the last bit.
      const played = ['a', 'b'].flatMap((task) =>
        [1, 2, 3].map((sample) => {
          const id = `${task}${sample}`;
          return {
            ...trajectory(id, [action({ id, agent: 'solver', logprobs: [0] })]),
            taskId: task,
          };
        }),
      );
      const scores = (a3: number) => ({ a1: 1, a2: 1, a3, b1: 7, b2: 7, b3: 7 });
      const agreed = assignCredit({ ...options, estimator }, inputOf(played, scores(1)));
      expect(agreed.credited).toEqual([]);
      expect(agreed.metrics['uniform/solver']).toBe(1);
      const differing = assignCredit({ ...options, estimator }, inputOf(played, scores(2)));
      expect(differing.credited).toHaveLength(6);
    },
  );

  it('reports no reward where nothing was scored, rather than zero', () => {
    const { credited, metrics } = assignCredit(options, inputOf(worked, {}));
    expect(credited).toEqual([]);
    expect(metrics).toEqual({ 'unscored/solver': 2, 'excluded/solver': 0 });
  });

  it('trains truncated actions with the score they earned', () => {
    const cut = trajectory('t3', [
      action({ id: 'C', agent: 'solver', logprobs: [0], stop: 'length' }),
    ]);
    const { credited } = assignCredit(options, inputOf([...worked, cut], { A: 8, B: 8, C: 0 }));
    expect(credited.find((entry) => entry.action.id === 'C')?.advantages[0]).toBeLessThan(-1);
  });

  it('gives every action of a trajectory its outcome when the outcome is the credit', () => {
    const played = [
      trajectory('t1', [
        action({ id: 'A', agent: 'solver', logprobs: [0] }),
        action({ id: 'B', agent: 'verifier', logprobs: [0] }),
      ]),
      trajectory('t2', [
        action({ id: 'C', agent: 'solver', logprobs: [0] }),
        action({ id: 'E', agent: 'verifier', logprobs: [0] }),
      ]),
      trajectory('t3', [action({ id: 'D', agent: 'solver', logprobs: [0] })]),
    ];
    const input = inputOf(played, { A: 3, B: 3, C: 9, D: 9, E: 9 }, { t1: true, t2: false });
    const { credited, metrics } = assignCredit({ ...options, credit: 'outcome' }, input);
    expect(
      credited.map(({ action: { id }, reward, advantages }) => [id, reward, ...advantages]),
    ).toEqual([
      ['A', 1, 1],
      ['C', 0, -1],
      ['B', 1, 1],
      ['E', 0, -1],
    ]);
    expect(metrics['unscored/solver']).toBe(1);
  });

  it('takes a method’s own rewards, and compares only actions of one kind', () => {
    const played = ['t1', 't2'].map((id, index) =>
      trajectory(id, [
        action({ id: `first${index}`, agent: 'debater', logprobs: [0] }),
        action({ id: `last${index}`, agent: 'debater', logprobs: [0] }),
      ]),
    );
    const kinds = new Map(
      [0, 1].flatMap((index): [string, string][] => [
        [`first${index}`, '0'],
        [`last${index}`, '1'],
      ]),
    );
    const rewardsOf = (values: readonly number[]) =>
      new Map(['first0', 'first1', 'last0', 'last1'].map((id, at) => [id, values[at] as number]));
    const credit = (values: readonly number[]) =>
      assignCredit(
        { ...options, credit: 'method' },
        { ...inputOf(played, {}), rewards: rewardsOf(values), kinds },
      );
    const apart = credit([-0.1, 0.1, 3, 5]);
    expect(apart.credited.map(({ action: { id }, advantages }) => [id, ...advantages])).toEqual([
      ['first0', -1],
      ['first1', 1],
      ['last0', -1],
      ['last1', 1],
    ]);
    const alike = credit([0.5, 0.5, 3, 5]);
    expect(alike.credited.map(({ action: { id } }) => id)).toEqual(['last0', 'last1']);
    expect(alike.metrics['uniform/debater']).toBe(0.5);
  });

  it('measures from the critic’s values, and says what the critic is to learn', () => {
    const input = inputOf(worked, { A: 8, B: 2 });
    const values = new Map([
      ['A', Float32Array.of(0.5, 0.5, 0.5)],
      ['B', Float32Array.of(0.5, 0.5)],
    ]);
    const how = { ...options, klCoefficient: 0, estimator: 'gae', lambda: 1 } as const;
    const { credited } = assignCredit(how, { ...input, values });
    // A: 0.8 − 0.5 on each of three tokens, B: 0.2 − 0.5 on two; mean 0.06, σ 0.294
    const advantages = credited.flatMap((entry) => [...entry.advantages]);
    for (const [token, wanted] of [0.24, 0.24, 0.24, -0.36, -0.36].entries()) {
      expect(advantages[token]).toBeCloseTo(wanted / Math.sqrt(0.0864), 5);
    }
    expect(credited[0]?.critic?.values).toEqual(values.get('A'));
    expect(credited[1]?.critic?.returns).toEqual(Float32Array.of(0.2, 0.2));
    expect(() => assignCredit(how, input)).toThrow(/needs the values of a critic/);
  });

  it('refuses a scored action without reference log-probabilities and names it', () => {
    const input = { ...inputOf(worked, { A: 8, B: 2 }), referenceLogprobs: new Map() };
    expect(() => assignCredit(options, input)).toThrow(/Action A of agent solver has no reference/);
  });
});
