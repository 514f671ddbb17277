import { createRuleCoach, type RuleCoachOptions } from '../../src/coach/rule-coach.ts';
import type { Coach } from '../../src/types/feedback.ts';
import { judgeArithmetic } from './judge.ts';

/** The arithmetic team's coach: exact by default; the options make it unreliable or biased, for experiments. */
export function createArithmeticCoach(
  options: Omit<RuleCoachOptions, 'name' | 'judge'> = {},
): Coach {
  return createRuleCoach({ ...options, name: 'arithmetic-rules', judge: judgeArithmetic });
}
