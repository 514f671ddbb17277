import { coachAlarms } from '../run/audit.ts';
import type { Training } from './training.ts';

/** How many steps lie between two looks. */
const everySteps = 5;

/**
 * Looks at the coach's scores now and then while a run goes on, and says once for each alarm that they no longer mean
 * what they should.
 *
 * @returns to be called after every completed step
 */
export function watchCoach({ run, settings, watch }: Training): (step: number) => void {
  const told = new Set<string>();
  return (step) => {
    if (settings.credit.credit !== 'coach' || step % everySteps !== 0) return;
    for (const { kind, agent, text } of coachAlarms(run.auditedActions())) {
      const name = `${kind} ${agent}`;
      if (!told.has(name)) watch.note(`warning: ${text}`);
      told.add(name);
    }
  };
}
