import { evaluateSets } from './evaluate.ts';
import { openPlaysAhead } from './methods/plays-ahead.ts';
import type { Method, Training } from './methods/training.ts';
import { watchCoach } from './methods/watch-coach.ts';
import type { FirstMoment } from './run/evaluation-name.ts';

/**
 * The training loop: evaluate the team as it is, then one method step after another, each made durable before the
 * next begins, then evaluate what came out.
 *
 * @param options.from first step to do; steps before it were completed by an earlier process
 * @param options.start what the evaluation before the first step is called
 * @throws BoundaryError with everything that was finished already in the run store
 */
export async function train(
  training: Training,
  method: Method,
  options: {
    readonly from: number;
    readonly start: FirstMoment;
    readonly checkpoint: (step: number) => Promise<string>;
  },
): Promise<void> {
  const { run, settings, watch } = training;
  const auditCoach = watchCoach(training);
  await evaluateSets(training, options.start);
  const ahead = settings.maxStalenessSteps > 0 ? openPlaysAhead(training) : undefined;
  try {
    for (let step = options.from; step <= settings.steps; step++) {
      const metrics = await method({ ...training, ...(ahead && { ahead }) }, step);
      watch.step(step, metrics);
      // Before the step counts as complete: an interrupted evaluation is finished when the step is resumed.
      if (isEvaluationDue(step, settings.evaluation.every, settings.steps)) {
        await evaluateSets(training, `step-${step}`);
      }
      const checkpoint = await options.checkpoint(step);
      run.completeStep(step, checkpoint, metrics);
      auditCoach(step);
    }
  } finally {
    await ahead?.close();
  }
  await evaluateSets(training, 'trained');
}

function isEvaluationDue(step: number, every: number, steps: number): boolean {
  return every > 0 && step % every === 0 && step < steps;
}
