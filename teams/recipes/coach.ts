import { createRuleCoach, type RuleVerdict } from '../../src/coach/rule-coach.ts';
import type { Coach, CoachRequest } from '../../src/types/feedback.ts';
import { judgeTables } from '../dsbench/judge.ts';
import { metricOf, wantedForm } from './language.ts';

/**
 * The rules of the data-science team, and one more: an analyst who hands in what can be used but is not what the metric
 * asks for (a label where it ranks) has done half its work.
 */
export function judgeRecipes(request: CoachRequest): RuleVerdict {
  const verdict = judgeTables(request);
  if (request.action.agent !== 'analyst' || !('score' in verdict) || verdict.blame !== 'none')
    return verdict;
  const metric = metricOf(request.task);
  const wanted = wantedForm(metric);
  if (request.action.text.includes(`predict("${wanted}")`)) return verdict;
  return { score: 5, reason: `${metric} asks for a ${wanted}.`, blame: 'self' };
}

/** The coach of the small data-science team; it is to see how plays end (`coaching.showOutcome`). */
export function createRecipesCoach(): Coach {
  return createRuleCoach({ name: 'recipes-rules', judge: judgeRecipes });
}
