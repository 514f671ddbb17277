/** How the learning rate moves over a run. */
export type Schedule = 'constant' | 'linear' | 'cosine';

/**
 * Learning rate of one step: a linear warm-up, then the schedule down to a tenth of the peak.
 *
 * @param place `step` from 1 to `steps`; past the end the last value holds, it never rises again
 * @returns same unit as `peak`
 */
export function learningRateAt(
  peak: number,
  schedule: Schedule,
  place: { readonly step: number; readonly steps: number; readonly warmupSteps: number },
): number {
  const { step, steps, warmupSteps } = place;
  if (step <= warmupSteps) return (peak * step) / warmupSteps;
  if (schedule === 'constant') return peak;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, steps - warmupSteps));
  const floor = 0.1;
  const share = schedule === 'linear' ? 1 - progress : 0.5 * (1 + Math.cos(Math.PI * progress));
  return peak * (floor + (1 - floor) * share);
}
