import { isSameAnswer } from '../task/same-answer.ts';

/** Grades of one task's samples, in sample order. `undefined` = the play failed and counts as not solved. */
export type TaskGrades = {
  readonly taskId: string;
  readonly correct: readonly boolean[];
  /** The answers given, for voting; absent where none could be read. */
  readonly answers: readonly (string | undefined)[];
};

/**
 * Unbiased pass@k: 1 − C(n−c, k)/C(n, k), averaged over tasks.
 *
 * @returns undefined when a task has fewer than k samples
 * @see Chen et al. 2021, arXiv:2107.03374, equation 1
 */
export function passAtK(grades: readonly TaskGrades[], k: number): number | undefined {
  if (grades.some(({ correct }) => correct.length < k)) return undefined;
  return average(
    grades.map(({ correct }) => {
      const right = correct.filter(Boolean).length;
      let noneRight = 1;
      for (let drawn = 0; drawn < k; drawn++) {
        noneRight *= Math.max(0, correct.length - right - drawn) / (correct.length - drawn);
      }
      return 1 - noneRight;
    }),
  );
}

/**
 * Accuracy of the most frequent answer of each task. Tied answers share the vote: the expected value of breaking the
 * tie at random, so that the figure needs no seed. Answers that a grader reads as equal (`080` and `80`) are one; samples
 * without an answer do not vote.
 */
export function majorityAccuracy(grades: readonly TaskGrades[]): number {
  return average(grades.map(majorityOfTask));
}

function majorityOfTask({ answers, correct }: TaskGrades): number {
  const parties: { readonly answer: string; count: number; right: boolean }[] = [];
  answers.forEach((answer, sample) => {
    if (answer === undefined) return;
    const right = correct[sample] === true;
    const party = parties.find((one) => isSameAnswer(one.answer, answer));
    if (party === undefined) parties.push({ answer, count: 1, right });
    else {
      party.count += 1;
      party.right ||= right;
    }
  });
  const most = Math.max(0, ...parties.map(({ count }) => count));
  const leaders = parties.filter(({ count }) => count === most);
  return shareOf(leaders.map(({ right }) => right));
}

function shareOf(flags: readonly boolean[]): number {
  return flags.length === 0 ? 0 : flags.filter(Boolean).length / flags.length;
}

function average(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
