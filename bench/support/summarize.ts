export type Summary = { readonly mean: number; readonly low: number; readonly high: number };

/** Two-sided 95 % quantiles of Student's t by degrees of freedom, 1 to 9. */
const t95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/** The same of the normal distribution. */
const z = 1.959964;

/** @see Abramowitz & Stegun 1964, 26.7.5, for the series, which is right to three digits from ten degrees of freedom on */
function quantile(degrees: number): number {
  const series =
    z +
    (z ** 3 + z) / (4 * degrees) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * degrees ** 3);
  return t95[degrees - 1] ?? series;
}

/** Mean with its 95 % interval by Student's t; one number has no interval but itself. */
export function summarize(numbers: readonly number[]): Summary {
  const count = numbers.length;
  const mean = numbers.reduce((sum, number) => sum + number, 0) / count;
  if (count < 2) return { mean, low: mean, high: mean };
  const squares = numbers.reduce((sum, number) => sum + (number - mean) ** 2, 0);
  const half = quantile(count - 1) * Math.sqrt(squares / (count - 1) / count);
  return { mean, low: mean - half, high: mean + half };
}
