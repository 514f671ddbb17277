import { extractAnswer } from './extract-answer.ts';
import { isSameAnswer } from './same-answer.ts';

/** What a grader read out of a model's text, and whether it is the answer. */
export type MathGrade = { readonly extracted?: string; readonly correct: boolean };

/**
 * Grades a model's text against the ground truth of a mathematics task, as a careful human grader would.
 *
 * @param prediction all that the model wrote, reasoning included
 * @param answer the ground truth as its file states it, for example `080`, `142.0` or `336^\circ`
 */
export function gradeMath(prediction: string, answer: string): MathGrade {
  const extracted = extractAnswer(prediction);
  if (extracted === undefined) return { correct: false };
  return { extracted, correct: isSameAnswer(extracted, answer) };
}
