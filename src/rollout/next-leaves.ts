import { type Branching, countLeaves, forkOf, ownerOf } from './branching.ts';

/** How a tree grows. */
export type Expansion = {
  readonly branching: Branching;
  /** Most leaves of one tree; absent = all. */
  readonly budget?: number;
  /** After so many leaves of equal value a tree is given up; absent = never. */
  readonly unanimousAfter?: number;
  /** `full`: level by level. `best-first`: one leaf at a time, where the value is high or little is known. */
  readonly order: 'full' | 'best-first';
};

/** A leaf that has been played: how many actions it took, and its value unless it broke. */
export type PlayedLeaf = { readonly actions: number; readonly value?: number };

/**
 * The leaves of a tree to play next; none when it has grown as far as it may. Depends on nothing but what was played, so
 * a tree that was interrupted grows on as it would have.
 *
 * The first leaves take one branch each at the first action. `best-first` then forks again and again at the action for
 * which (mean value of its leaves) + 1/√(number of its leaves) is highest, ties to the first: the value with a bonus for
 * what is little known.
 */
export function nextLeaves(
  played: ReadonlyMap<number, PlayedLeaf>,
  { branching, budget, unanimousAfter, order }: Expansion,
): readonly number[] {
  const room = (budget ?? Number.POSITIVE_INFINITY) - played.size;
  if (room <= 0 || isUnanimous(played, unanimousAfter)) return [];
  const leaves = Array.from({ length: countLeaves(branching) }, (_, leaf) => leaf);
  const open = leaves
    .filter((leaf) => !played.has(leaf) && isReady(leaf, played, branching))
    .toSorted((one, other) => forkOf(one, branching) - forkOf(other, branching));
  const first = open.filter((leaf) => forkOf(leaf, branching) === 0);
  if (order === 'full' || first.length > 0) return (first.length > 0 ? first : open).slice(0, room);
  const best = open.reduce<{ readonly leaf?: number; readonly promise: number }>(
    (found, leaf) => {
      const promise = promiseOf(leaf, played, branching);
      return promise > found.promise ? { leaf, promise } : found;
    },
    { promise: Number.NEGATIVE_INFINITY },
  );
  return best.leaf === undefined ? [] : [best.leaf];
}

function isUnanimous(played: ReadonlyMap<number, PlayedLeaf>, after: number | undefined): boolean {
  if (after === undefined || played.size < after) return false;
  const values = [...played.values()].flatMap(({ value }) => value ?? []);
  return values.length >= after && new Set(values).size === 1;
}

/** Whether what a leaf replays is there, and its play goes on for another action. */
function isReady(
  leaf: number,
  played: ReadonlyMap<number, PlayedLeaf>,
  branching: Branching,
): boolean {
  const fork = forkOf(leaf, branching);
  if (fork === 0) return true;
  const before = played.get(ownerOf(leaf, fork - 1, branching));
  if (before === undefined) return false;
  return before.value === undefined ? before.actions >= fork : before.actions > fork;
}

function promiseOf(
  leaf: number,
  played: ReadonlyMap<number, PlayedLeaf>,
  branching: Branching,
): number {
  const position = forkOf(leaf, branching) - 1;
  const node = ownerOf(leaf, position, branching);
  const values = [...played].flatMap(([other, { value }]) =>
    ownerOf(other, position, branching) === node ? (value ?? []) : [],
  );
  const sum = values.reduce((total, value) => total + value, 0);
  return values.length === 0 ? 0 : sum / values.length + 1 / Math.sqrt(values.length);
}
