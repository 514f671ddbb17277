import { assignCredit, type CreditOptions } from '../credit/assign-credit.ts';
import type { Metrics } from '../types/metrics.ts';
import { isAskedIn, isSpent, refuseTooFewScores } from './coach-metrics.ts';
import { policyGradientStep } from './policy-gradient-step.ts';
import type { Training } from './training.ts';

/**
 * One step of MAPPA (arXiv 2601.23228): the team plays, a coach scores every action, and every agent's policy takes
 * REINFORCE++ steps on its own actions' scores. With `credit: "outcome"` each action gets its play's final grade
 * instead, the baseline of the paper.
 */
export function mappaStep(training: Training, step: number): Promise<Metrics> {
  const { settings } = training;
  const isCoached = settings.credit.credit === 'coach' && isAskedIn(training, step);
  return policyGradientStep(training, step, {
    isCoached,
    assign: (judged, evidence) => {
      const credit = creditAfter(training, step, isCoached);
      const { credited, metrics } = assignCredit(credit, { ...judged, ...evidence });
      if (credit.credit === 'coach') refuseTooFewScores(judged, settings);
      const isReplaced = credit.credit !== settings.credit.credit;
      return { credited, metrics: { ...metrics, ...(isReplaced ? { 'outcome-credit': 1 } : {}) } };
    },
  });
}

/**
 * How a step's actions are credited. A step in which the coach's budget ended, and every one after it, goes by the
 * outcome: half of it by points and half by grades would compare what cannot be compared.
 */
function creditAfter(training: Training, step: number, wasCoached: boolean): CreditOptions {
  const { credit } = training.settings;
  if (credit.credit === 'outcome' || !isSpent(training)) return credit;
  if (wasCoached) {
    training.watch.note(
      `the coaching budget is spent: from step ${step} on, an action's reward is its play's outcome (coaching.budget.whenSpent)`,
    );
  }
  return { ...credit, credit: 'outcome' };
}
