import { describe, expect, it } from 'vitest';
import { type InfluenceOptions, influenceRewards, type JudgedAnswer } from './influence-rewards.ts';

const none = { a0: 0, a1: 0, b0: 0, b1: 0 };
/** Four different sizes, so that a mixed-up coefficient shows. */
const incentives = { a0: 2, a1: 3, b0: 5, b1: 7 };
const plain: InfluenceOptions = {
  turnDiscount: 0.3,
  incentives: none,
  influenceSign: 'paper',
  ties: 'silent',
};

/** One row per agent: its verdicts by turn, 1 = right. The action of agent A at turn 0 is `A0`. */
function discussion(rows: Readonly<Record<string, readonly number[]>>): JudgedAnswer[] {
  return Object.entries(rows).flatMap(([agent, verdicts]) =>
    verdicts.map((verdict, turn) => ({
      ...{ actionId: `${agent}${turn}`, agent, turn },
      ...{ verdict, isRight: verdict >= 0.5 },
    })),
  );
}

const rewardOf = (answers: readonly JudgedAnswer[], id: string, options = plain) =>
  influenceRewards(answers, options).get(id)?.reward;

/** Only the bonuses of one answer. */
function bonusOf(
  rows: Readonly<Record<string, readonly number[]>>,
  id: string,
  options: Partial<InfluenceOptions> = {},
) {
  const parts = influenceRewards(discussion(rows), { ...plain, incentives, ...options }).get(id);
  return parts && [parts.revision, parts.influence];
}

describe('influenceRewards', () => {
  it('discounts the turns to come, everybody’s mean, and divides by the weights', () => {
    const answers = discussion({ A: [0, 1, 1], B: [1, 1, 1] });
    // 0 + 0.3·1 + 0.09·1 over 1 + 0.3 + 0.09
    expect(rewardOf(answers, 'A0')).toBeCloseTo(0.39 / 1.39, 12);
    expect(rewardOf(answers, 'A0')).toBeCloseTo(0.2806, 4);
    expect(['B0', 'A1', 'A2'].map((id) => rewardOf(answers, id))).toEqual([1, 1, 1]);
  });

  it('counts an agent itself among those whose later verdicts it earns', () => {
    const answers = discussion({ A: [0, 1], B: [0, 0], C: [1, 0] });
    // Turn 1: a third; with γ = 1 half of each turn.
    const undiscounted = { ...plain, turnDiscount: 1 };
    expect(rewardOf(answers, 'A0', undiscounted)).toBeCloseTo(1 / 6, 12);
    expect(rewardOf(answers, 'C0', undiscounted)).toBeCloseTo(4 / 6, 12);
    expect(rewardOf(answers, 'B1', undiscounted)).toBe(0);
  });

  it('pays three agents over three turns', () => {
    const answers = discussion({ A: [0, 0, 1], B: [1, 1, 1], C: [0, 1, 0.5] });
    // means of turns 1 and 2: 2/3 and 5/6
    expect(rewardOf(answers, 'A0')).toBeCloseTo((0.3 * (2 / 3) + 0.09 * (5 / 6)) / 1.39, 12);
    expect(rewardOf(answers, 'B0')).toBeCloseTo((1 + 0.2 + 0.075) / 1.39, 12);
    expect(rewardOf(answers, 'A1')).toBeCloseTo((0.3 * (5 / 6)) / 1.3, 12);
    expect(rewardOf(answers, 'C1')).toBeCloseTo((1 + 0.25) / 1.3, 12);
    expect(rewardOf(answers, 'C2')).toBe(0.5);
  });

  it('is the verdict alone without a discount for later, and where there is no later', () => {
    const answers = discussion({ A: [0.25, 1], B: [1, 1] });
    expect(rewardOf(answers, 'A0', { ...plain, turnDiscount: 0 })).toBe(0.25);
    expect(rewardOf(discussion({ A: [0.25], B: [1] }), 'A0')).toBe(0.25);
  });

  it('gives no reward, rather than a guess, where a verdict that it needs is missing', () => {
    const answers = discussion({ A: [0, 1], B: [1, 1] });
    const unknown = answers.map((answer) =>
      answer.actionId === 'B1' ? { actionId: 'B1', agent: 'B', turn: 1 } : answer,
    );
    expect([...influenceRewards(unknown, plain).keys()]).toEqual(['A1']);
    const paidForChanges = { ...plain, incentives };
    expect([...influenceRewards(unknown, paidForChanges).keys()]).toEqual(['A1']);
  });
});

describe('the incentives of tables 1 and 2', () => {
  const right = [1, 1];
  const wrong = [0, 0];
  it.each([
    ['takes a1 from who lets right peers be talked out of it', [1, 0], right, -3],
    ['takes a0 from who gives in to wrong peers', [1, 0], wrong, -2],
    ['pays a0 for coming to it against wrong peers', [0, 1], wrong, 2],
    ['pays a1 for being persuaded by right peers', [0, 1], right, 3],
  ])('%s', (_, own, others, bonus) => {
    expect(bonusOf({ A: own, B: others }, 'A1')).toEqual([bonus, 0]);
    expect(bonusOf({ A: own, B: others }, 'A0')?.[0]).toBe(0);
  });

  it.each([
    ['takes b1 from who was right while the others went wrong', right, [1, 0], -7],
    ['takes b0 from who was wrong while the others went wrong', wrong, [1, 0], -5],
    ['pays b0 to who was wrong while the others came to it', wrong, [0, 1], 5],
    ['pays b1 to who was right and persuaded them', right, [0, 1], 7],
  ])('%s', (_, own, others, bonus) => {
    expect(bonusOf({ A: own, B: others }, 'A0')).toEqual([0, bonus]);
    expect(bonusOf({ A: own, B: others }, 'A0', { influenceSign: 'inverted' })).toEqual([
      0,
      -bonus,
    ]);
    expect(bonusOf({ A: own, B: others }, 'A1')?.[1]).toBe(0);
  });

  it('pays the persuaded on its second answer and the persuader on its first', () => {
    const rows = { A: [0, 1, 1], B: [1, 1, 1] };
    expect(bonusOf(rows, 'A1')).toEqual([3, 0]);
    expect(bonusOf(rows, 'B0')).toEqual([0, 7]);
    expect(['A0', 'B1', 'A2', 'B2'].map((id) => bonusOf(rows, id))).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
  });

  it('looks at the majority of the others', () => {
    const rows = { A: [0, 1], B: [1, 1], C: [1, 1], D: [0, 0] };
    expect(bonusOf(rows, 'A1')).toEqual([3, 0]);
    // The others of B at turn 0 are A, C, D: one right of three; then two.
    expect(bonusOf(rows, 'B0')).toEqual([0, 7]);
  });

  it('pays nothing where two others disagree, unless a tie is to count as wrong', () => {
    const rows = { A: [0, 1], B: [1, 1], C: [0, 1] };
    expect(bonusOf(rows, 'A1')).toEqual([0, 0]);
    expect(bonusOf(rows, 'A1', { ties: 'wrong' })).toEqual([2, 0]);
    expect(bonusOf(rows, 'A0')).toEqual([0, 0]);
    expect(bonusOf(rows, 'A0', { ties: 'wrong' })).toEqual([0, 5]);
  });
});

describe('payoffs', () => {
  const payoffs = { proposer: { solver: -1 }, solver: { solver: 1 } };

  it('set a proposer against a solver', () => {
    const answers = discussion({ proposer: [0.9], solver: [0.25] });
    const rewards = influenceRewards(answers, { ...plain, payoffs });
    expect(rewards.get('proposer0')?.reward).toBe(-0.25);
    expect(rewards.get('solver0')?.reward).toBe(0.25);
  });

  it('leave out turns in which nobody acts who pays', () => {
    const answers = discussion({ proposer: [0, 0, 0], solver: [0.5, 1] });
    const rewards = influenceRewards(answers, { ...plain, turnDiscount: 1, payoffs });
    expect(rewards.get('proposer0')?.reward).toBe(-0.75);
    expect(rewards.get('proposer1')?.reward).toBe(-1);
    expect(rewards.has('proposer2')).toBe(false);
  });
});
