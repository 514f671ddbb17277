/**
 * Groups rows of similar length, so that one pass holds at most a budget of tokens, padding included.
 * The same lengths always give the same groups: ties keep the input's order.
 *
 * @param lengths tokens of each row
 * @param tokenBudget rows × longest row of a group; a single longer row is a group of its own
 * @returns groups of row numbers, shortest rows first
 */
export function formMicroBatches(
  lengths: readonly number[],
  tokenBudget: number,
): readonly (readonly number[])[] {
  const order = lengths.map((length, row) => ({ length, row }));
  order.sort((left, right) => left.length - right.length || left.row - right.row);
  const groups: number[][] = [];
  let group: number[] = [];
  for (const { length, row } of order) {
    if (group.length > 0 && (group.length + 1) * length > tokenBudget) {
      groups.push(group);
      group = [];
    }
    group.push(row);
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
