import { expect, test } from 'vitest';
import { discussionStatistics, type GradedAnswer } from './discussion-statistics.ts';

/** Answers by turn, `-` for none; 7 is right. */
function play(id: string, rows: Readonly<Record<string, string>>): GradedAnswer[] {
  return Object.entries(rows).flatMap(([agent, answers]) =>
    [...answers].map((answer, turn) => ({
      ...{ trajectoryId: id, agent, turn, isRight: answer === '7' },
      ...(answer === '-' ? {} : { extracted: answer }),
    })),
  );
}

const one = play('one', { ann: '377', bob: '773', cy: '-77' });
const two = play('two', { ann: '777', bob: '333', cy: '773' });
const statistics = discussionStatistics([...one, ...two]);

test('accuracy and agreement turn by turn', () => {
  // Right at turn 0: bob; ann, cy. At turn 1 all of one, ann and cy of two. At turn 2: ann, cy; ann.
  expect(statistics.turns.map(({ accuracy }) => accuracy.share)).toEqual([3 / 6, 5 / 6, 3 / 6]);
  expect(statistics.turns[0]?.accuracyOf).toEqual({
    ann: { of: 2, share: 0.5 },
    bob: { of: 2, share: 0.5 },
    cy: { of: 2, share: 0.5 },
  });
  // Play one at turn 0 has one pair that both answered (3, 7); two has 7 3 7: one of three.
  expect(statistics.turns.map(({ agreement }) => agreement)).toEqual([
    { of: 4, share: 1 / 4 },
    { of: 6, share: 4 / 6 },
    { of: 6, share: 2 / 6 },
  ]);
});

test('what became of right and wrong answers', () => {
  expect(statistics.transitions).toEqual([
    { rightToRight: 3, rightToWrong: 0, wrongToRight: 2, wrongToWrong: 1 },
    { rightToRight: 3, rightToWrong: 2, wrongToRight: 0, wrongToWrong: 1 },
  ]);
});

test('who gave in to most of the others, and who took whose answer', () => {
  // One, turn 0: the others of ann are 7 and none, no majority; of bob 3 and none; of cy 3 and 7. Two, turn 0: bob against
  // 7 7 stays. Turn 1: one agrees; bob of two against 7 7 stays.
  expect(statistics.conformity).toEqual({ of: 2, share: 0 });
  // bob to ann: one, turn 0, taken; two, turns 0 and 1, not taken.
  expect(statistics.influence.bob?.ann).toEqual({ of: 3, share: 1 / 3 });
  // bob to cy: one, turn 0, taken; two, turn 0 no, turn 1 yes.
  expect(statistics.influence.bob?.cy).toEqual({ of: 3, share: 2 / 3 });
  expect(statistics.influence.ann?.ann).toBeUndefined();
});

test('nothing is said of what did not happen', () => {
  const lone = discussionStatistics(play('lone', { ann: '7' }));
  expect(lone.conformity).toEqual({ of: 0 });
  expect(lone.transitions).toEqual([]);
  expect(discussionStatistics([]).turns).toEqual([]);
});
