import type { Run } from '../../src/run/run-store.ts';

/** Held-out accuracy after so many trajectories. */
export type Point = { readonly trajectories: number; readonly accuracy: number };

/** Trajectories at which a curve first reaches the target, linear between evaluations; undefined if it never does. */
export function trajectoriesTo(target: number, curve: readonly Point[]): number | undefined {
  const after = curve.findIndex(({ accuracy }) => accuracy >= target);
  if (after <= 0) return after === 0 ? 0 : undefined;
  const [start, end] = [curve[after - 1] as Point, curve[after] as Point];
  const share = (target - start.accuracy) / (end.accuracy - start.accuracy);
  return start.trajectories + share * (end.trajectories - start.trajectories);
}

/** A run's evaluations as a curve; it must be finished. */
export function pointsOf(run: Run, playsPerStep: number, steps: number): Point[] {
  const stepOf = (name: string) =>
    name === 'base' ? 0 : name === 'trained' ? steps : Number(name.replace('step-', ''));
  return run
    .evaluations()
    .map(({ name, rows }) => ({
      trajectories: stepOf(name) * playsPerStep,
      accuracy: rows.filter(({ correct }) => correct).length / rows.length,
    }))
    .toSorted((first, second) => first.trajectories - second.trajectories);
}
