/** Mean and population standard deviation. */
export type Spread = { readonly mean: number; readonly deviation: number };

/** Mean and population standard deviation of the values; both 0 for none. Two passes, so that equal values give exactly 0. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) return { mean: 0, deviation: 0 };
  const first = values[0] ?? 0;
  // Around the first value, so that equal values have no rounding error to be blown up.
  const mean = first + values.reduce((sum, value) => sum + (value - first), 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / values.length) };
}

/**
 * One true normalisation over all tokens of all rows: (G − μ)/σ, every token weighing the same.
 *
 * @returns advantages, mean 0 and standard deviation 1 over the tokens; all zero where σ is 0
 */
export function normalize(rows_AT: readonly Float64Array[]): Float64Array[] {
  const { mean, deviation } = spreadOf(rows_AT.flatMap((row) => [...row]));
  const scale = deviation > 0 ? 1 / deviation : 0;
  return rows_AT.map((row) => row.map((value) => (value - mean) * scale));
}
