/** One play of a tree, from its first action to its last, and what its answer is worth. */
export type TreePath = {
  /** Ids of its actions; plays that share a beginning share the ids of it. */
  readonly actionIds: readonly string[];
  /** In [0, 1]. */
  readonly value: number;
};

/** What an action of a tree is worth. */
export type NodeValue = {
  /** Mean of its children's values; of a last action, its play's. In [0, 1]. */
  readonly value: number;
  /** Plays that go through it. */
  readonly leaves: number;
  /** Absent for the first action of a play. */
  readonly parent?: string;
};

/**
 * Backs the leaves' values up a tree: the value of an action is the mean of its children's values.
 *
 * With equally many children everywhere that is the mean over all leaves below it; where some were not played, each
 * child still counts the same.
 *
 * @param paths ended plays, of one tree or several, in any order
 * @returns by action id; an action that no path goes through has no value
 * @see Motwani et al. 2025, arXiv:2412.01928, section 4 (global pooling)
 */
export function treeValues(paths: readonly TreePath[]): ReadonlyMap<string, NodeValue> {
  const values = new Map<string, NodeValue>();
  backUp(paths, 0, values);
  return values;
}

/** Mean value of the nodes at `depth`, each of which is entered into `values` with all below it. */
function backUp(
  paths: readonly TreePath[],
  depth: number,
  values: Map<string, NodeValue>,
): number | undefined {
  const through = paths.filter(({ actionIds }) => actionIds.length > depth);
  const byNode = Map.groupBy(through, ({ actionIds }) => actionIds[depth] as string);
  const found = [...byNode].map(([id, own]) => {
    const parent = depth === 0 ? undefined : (own[0]?.actionIds[depth - 1] as string);
    const below = backUp(own, depth + 1, values);
    const value = below ?? mean(own.map((path) => path.value));
    values.set(id, { value, leaves: own.length, ...(parent === undefined ? {} : { parent }) });
    return value;
  });
  return found.length === 0 ? undefined : mean(found);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
