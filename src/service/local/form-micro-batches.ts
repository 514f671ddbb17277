/**
 * Groups rows of similar length, so that one pass holds at most a budget of tokens and rows of one length, which share
 * one attention, stand together.
 * The same lengths always give the same groups: ties keep the input's order.
 *
 * @param lengths tokens of each row
 * @param tokenBudget of a group; a single longer row is a group of its own
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
  let tokens = 0;
  for (const { length, row } of order) {
    if (group.length > 0 && tokens + length > tokenBudget) {
      groups.push(group);
      group = [];
      tokens = 0;
    }
    group.push(row);
    tokens += length;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
