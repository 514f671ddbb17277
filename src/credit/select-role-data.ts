import type { Action } from '../types/trajectory.ts';
import type { NodeValue } from './tree-values.ts';

/** What of a tree's actions is trained on. */
export type Selection = {
  /** θ: an action worth more is positive, one worth exactly θ is not. `question`: θ is the mean of the question's plays. */
  readonly threshold: number | 'question';
  /** Least difference of the values of a pair. */
  readonly margin: number;
  /** Siblings with the same tokens share the mean value of their leaves. */
  readonly poolIdentical: boolean;
  /** One example for each context and text, where the paper keeps a multiset. */
  readonly distinctExamples: boolean;
  /** Leaves out actions that were cut off by their length. */
  readonly dropTruncated: boolean;
  /** Most examples, and most pairs, of one agent from one question, those of highest value and widest gap; absent = all. */
  readonly examplesPerQuestion?: number | undefined;
  readonly pairsPerQuestion?: number | undefined;
};

/** An action of a tree with its value. */
export type ValuedAction = NodeValue & { readonly action: Action };

/** Two answers to the same words, of which the first was worth more. */
export type PreferencePair = { readonly preferred: Action; readonly rejected: Action };

/** Why an action is no example, or a pair of siblings no preference. */
export type DropReason =
  | 'at-most-threshold'
  | 'truncated'
  | 'duplicate'
  | 'over-cap'
  | 'equal-text'
  | 'small-margin';

/** What one agent's actions in one question's tree came to. */
export type RoleData = {
  readonly examples: readonly Action[];
  readonly pairs: readonly PreferencePair[];
  /** By action id, in the order given: its value after pooling, its label, and why it is no example. */
  readonly labels: ReadonlyMap<string, NodeLabel>;
  /** Pairs of a positive and a negative sibling that were left out. */
  readonly droppedPairs: Readonly<Partial<Record<DropReason, number>>>;
};

export type NodeLabel = {
  readonly value: number;
  readonly isPositive: boolean;
  readonly dropped?: DropReason;
};

/**
 * The training sets of MALT from one agent's actions in the tree of one question: every positive action is an example,
 * and every positive action is preferred to every negative one of the same parent.
 *
 * An action is positive when its value is above the threshold (also, with `question`, when it is 1). Pairs of equal
 * tokens are left out, and of pairs with the same context and tokens all but one.
 *
 * @param nodes the agent's actions in this tree; siblings are those with the same parent
 * @param questionValue mean value of the question's plays
 * @see Motwani et al. 2025, arXiv:2412.01928, section 4; docs/math.md
 */
export function selectRoleData(
  nodes: readonly ValuedAction[],
  questionValue: number,
  selection: Selection,
): RoleData {
  const valued = selection.poolIdentical ? pooled(nodes) : nodes;
  const isPositive = ({ value }: ValuedAction) =>
    selection.threshold === 'question'
      ? value > questionValue || value === 1
      : value > selection.threshold;
  const examples = selectExamples(valued, isPositive, selection);
  const labels = valued.map((node) => {
    const dropped = examples.dropped.get(node.action.id);
    const label = { value: node.value, isPositive: isPositive(node) };
    return [node.action.id, dropped === undefined ? label : { ...label, dropped }] as const;
  });
  const { kept, dropped } = selectPairs(valued, isPositive, selection);
  return { examples: examples.kept, pairs: kept, labels: new Map(labels), droppedPairs: dropped };
}

function pooled(nodes: readonly ValuedAction[]): readonly ValuedAction[] {
  const alike = Map.groupBy(nodes, ({ parent = '', action }) => `${parent} ${action.tokens}`);
  return nodes.map((node) => {
    const own = alike.get(`${node.parent ?? ''} ${node.action.tokens}`) ?? [node];
    const leaves = own.reduce((sum, one) => sum + one.leaves, 0);
    const value = own.reduce((sum, one) => sum + one.value * one.leaves, 0) / leaves;
    return { ...node, value };
  });
}

type Test = (node: ValuedAction) => boolean;

function selectExamples(nodes: readonly ValuedAction[], isPositive: Test, selection: Selection) {
  const { distinctExamples, dropTruncated, examplesPerQuestion } = selection;
  const dropped = new Map<string, DropReason>();
  const seen = new Set<string>();
  const whyNot = (node: ValuedAction): DropReason | undefined => {
    if (!isPositive(node)) return 'at-most-threshold';
    if (dropTruncated && node.action.stop === 'length') return 'truncated';
    const key = rowKey(node.action);
    if (distinctExamples && seen.has(key)) return 'duplicate';
    seen.add(key);
    return undefined;
  };
  const fit = nodes.filter((node) => {
    const reason = whyNot(node);
    if (reason !== undefined) dropped.set(node.action.id, reason);
    return reason === undefined;
  });
  const best = capped(fit, examplesPerQuestion, ({ value }) => value);
  for (const { action } of fit.filter((node) => !best.has(node)))
    dropped.set(action.id, 'over-cap');
  return { kept: fit.filter((node) => best.has(node)).map(({ action }) => action), dropped };
}

type Candidate = PreferencePair & { readonly gap: number };

function selectPairs(nodes: readonly ValuedAction[], isPositive: Test, selection: Selection) {
  const { margin, dropTruncated, pairsPerQuestion } = selection;
  const dropped: Partial<Record<DropReason, number>> = {};
  const seen = new Set<string>();
  const whyNot = ({ preferred, rejected, gap }: Candidate): DropReason | undefined => {
    if (`${preferred.tokens}` === `${rejected.tokens}`) return 'equal-text';
    if (gap < margin) return 'small-margin';
    if (dropTruncated && preferred.stop === 'length') return 'truncated';
    const key = `${rowKey(preferred)} ${rejected.tokens}`;
    if (seen.has(key)) return 'duplicate';
    seen.add(key);
    return undefined;
  };
  const fit = candidatePairs(nodes, isPositive).filter((pair) => {
    const reason = whyNot(pair);
    if (reason !== undefined) dropped[reason] = (dropped[reason] ?? 0) + 1;
    return reason === undefined;
  });
  const widest = capped(fit, pairsPerQuestion, ({ gap }) => gap);
  const kept = fit.filter((pair) => widest.has(pair));
  if (kept.length < fit.length) dropped['over-cap'] = fit.length - kept.length;
  return { kept: kept.map(({ preferred, rejected }) => ({ preferred, rejected })), dropped };
}

/** Every positive action with every negative one of the same parent. */
function candidatePairs(nodes: readonly ValuedAction[], isPositive: Test): Candidate[] {
  const families = Map.groupBy(nodes, ({ parent }) => parent);
  return [...families.values()].flatMap((siblings) => {
    const negative = siblings.filter((node) => !isPositive(node));
    return siblings.filter(isPositive).flatMap((better) =>
      negative.map((worse) => ({
        preferred: better.action,
        rejected: worse.action,
        gap: better.value - worse.value,
      })),
    );
  });
}

/** The items of highest rank, ties to the first. */
function capped<Item>(
  items: readonly Item[],
  most: number | undefined,
  rankOf: (item: Item) => number,
): ReadonlySet<Item> {
  const ranked = items.toSorted((one, other) => rankOf(other) - rankOf(one));
  return new Set(most === undefined ? items : ranked.slice(0, most));
}

function rowKey({ observation, tokens }: Action): string {
  return `${observation} > ${tokens}`;
}
