import type { Estimate } from '../run/estimate.ts';

/** A value with its interval; a dash where it does not exist. */
export function shownEstimate(estimate: Estimate | undefined, digits = 2): string {
  if (estimate === undefined) return '–';
  const { value, low, high } = estimate;
  if (low === undefined || high === undefined) return value.toFixed(digits);
  return `${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}

/** Rows as lines whose columns stand below each other, the first row's being the headings. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
