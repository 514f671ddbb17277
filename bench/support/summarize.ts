export type Summary = { readonly mean: number; readonly low: number; readonly high: number };

/** Two-sided 95 % quantiles of Student's t by degrees of freedom, 1 to 9. */
const t95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/** Mean with its 95 % interval by Student's t; one number has no interval but itself. */
export function summarize(numbers: readonly number[]): Summary {
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const squares = numbers.reduce((sum, number) => sum + (number - mean) ** 2, 0);
  const t = t95[numbers.length - 2] ?? 1.96;
  const half =
    (t * Math.sqrt(squares / Math.max(1, numbers.length - 1))) / Math.sqrt(numbers.length);
  return { mean, low: mean - half, high: mean + half };
}
