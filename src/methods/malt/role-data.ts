import {
  type NodeLabel,
  type PreferencePair,
  type RoleData,
  type Selection,
  selectRoleData,
  type ValuedAction,
} from '../../credit/select-role-data.ts';
import type { TreeNode } from '../../run/tree-records.ts';
import type { Metrics } from '../../types/metrics.ts';
import type { Action, Trajectory } from '../../types/trajectory.ts';
import type { QuestionTree } from './grow-trees.ts';

/** What all trees of a round give one agent. */
export type RoleSets = {
  readonly examples: readonly Action[];
  readonly pairs: readonly PreferencePair[];
  /** Every action with a value, as the run store keeps it. */
  readonly nodes: readonly TreeNode[];
};

/** The agents' training sets of a round, and what of the trees became none of them. */
export type CollectedRoles = {
  readonly roles: ReadonlyMap<string, RoleSets>;
  /**
   * By agent: `actions/`, `positive/` (share), `examples/`, `pairs/`, and for every reason why an action is no example or
   * a pair was left out `dropped-examples-<reason>/` and `dropped-pairs-<reason>/`.
   */
  readonly metrics: Metrics;
};

/** The training sets of every agent, each question's tree by itself, in the order of the questions. */
export function collectRoles(
  trees: readonly QuestionTree[],
  agents: readonly string[],
  selection: Selection,
): CollectedRoles {
  const metrics: Record<string, number> = {};
  const count = (name: string, by = 1) => {
    metrics[name] = (metrics[name] ?? 0) + by;
  };
  const roles = agents.map((agent) => {
    const parts = trees.map((tree) => {
      const valued = nodesOf(tree, agent);
      const data = selectRoleData(valued, tree.value ?? 0, selection);
      return { ...data, nodes: recordsOf(valued, data) };
    });
    for (const { nodes, droppedPairs } of parts) {
      for (const { dropped } of nodes) {
        if (dropped !== undefined) count(`dropped-examples-${dropped}/${agent}`);
      }
      for (const [reason, pairs] of Object.entries(droppedPairs)) {
        count(`dropped-pairs-${reason}/${agent}`, pairs);
      }
    }
    const sets: RoleSets = {
      examples: parts.flatMap(({ examples }) => examples),
      pairs: parts.flatMap(({ pairs }) => pairs),
      nodes: parts.flatMap(({ nodes }) => nodes),
    };
    const positive = sets.nodes.filter(({ isPositive }) => isPositive).length;
    count(`actions/${agent}`, sets.nodes.length);
    count(`examples/${agent}`, sets.examples.length);
    count(`pairs/${agent}`, sets.pairs.length);
    if (sets.nodes.length > 0) metrics[`positive/${agent}`] = positive / sets.nodes.length;
    return [agent, sets] as const;
  });
  return { roles: new Map(roles), metrics };
}

/** What became of each action. */
function recordsOf(nodes: readonly ValuedAction[], { labels, pairs }: RoleData): TreeNode[] {
  const count = (actions: readonly Action[], { id }: Action) =>
    actions.filter((action) => action.id === id).length;
  const preferred = pairs.map((pair) => pair.preferred);
  const rejected = pairs.map((pair) => pair.rejected);
  return nodes.map(({ action, leaves }) => ({
    ...{ actionId: action.id, leaves, ...(labels.get(action.id) as NodeLabel) },
    ...{ preferred: count(preferred, action), rejected: count(rejected, action) },
  }));
}

/** An agent's actions in a tree, each once, in the order of the leaves. */
function nodesOf({ trajectories, values }: QuestionTree, agent: string): ValuedAction[] {
  return distinctActions(trajectories).flatMap((action) => {
    const value = action.agent === agent ? values.get(action.id) : undefined;
    return value === undefined ? [] : [{ ...value, action }];
  });
}

/** The actions of plays that share beginnings, each once. */
export function distinctActions(trajectories: readonly Trajectory[]): readonly Action[] {
  const actions = trajectories.flatMap((trajectory) => trajectory.actions);
  return [...new Map(actions.map((action) => [action.id, action])).values()];
}
