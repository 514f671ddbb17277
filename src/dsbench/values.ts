/** How the cells of a table are read: numbers, labels, and what counts as no value. */

const number = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const missing = new Set(['', 'nan', 'na', 'n/a', 'null', 'none', '<na>', 'nat']);

/** What pandas writes where there is no value; a task may still have a label of that name. */
export function isMissing(cell: string): boolean {
  return missing.has(cell.trim().toLowerCase());
}

/** @returns a finite number, or undefined for anything else, infinities too */
export function parseNumber(cell: string): number | undefined {
  const text = cell.trim();
  if (!number.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** One writing for each label: `1.0`, `+1` and `1` are the same, and `0.50` and `0.5`; `True` is 1 and `False` is 0. */
export function canonicalLabel(cell: string): string {
  const text = cell.trim();
  if (/^true$/i.test(text)) return '1';
  if (/^false$/i.test(text)) return '0';
  const value = parseNumber(text);
  // Beyond 2^53, different whole numbers become the same double.
  const isExact = value !== undefined && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  return isExact ? String(value) : text;
}

/** One writing for each id: whole numbers that became floats, and decimals with other zeros, are the same row. */
export function canonicalId(cell: string): string {
  const text = cell.trim();
  return /^-?\d+\.\d+$/.test(text) ? text.replace(/\.?0+$/, '') : text;
}

/** Labels in order, without repetition: by value where all are numbers, else by their characters. */
export function sortedLabels(labels: Iterable<string>): string[] {
  const distinct = [...new Set(labels)];
  const areNumbers = distinct.every((label) => parseNumber(label) !== undefined);
  return areNumbers
    ? distinct.toSorted((first, second) => Number(first) - Number(second))
    : distinct.toSorted((first, second) => (first < second ? -1 : 1));
}
