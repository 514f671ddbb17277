/**
 * The leaves of a tree of plays are counted like a number whose digits are the branches taken: with three branches at
 * each of three actions, leaf 14 is 1·9 + 1·3 + 2, the second branch, then the second, then the third.
 */

/** How many ways a play goes on at each of its first actions; later ones are not branched. */
export type Branching = readonly number[];

/** Leaves of the whole tree. */
export function countLeaves(branching: Branching): number {
  return branching.reduce((product, ways) => product * ways, 1);
}

/** Leaves that share the action at a position: what one branch there stands for. */
function leavesBelow(position: number, branching: Branching): number {
  return countLeaves(branching.slice(position + 1));
}

/** The leaf that samples the action which `leaf` has at this position; all others that pass through it replay it. */
export function ownerOf(leaf: number, position: number, branching: Branching): number {
  return leaf - (leaf % leavesBelow(position, branching));
}

/** The first position at which a leaf samples an action of its own: 0 for one that replays nothing. */
export function forkOf(leaf: number, branching: Branching): number {
  const position = branching.findIndex((_, at) => ownerOf(leaf, at, branching) === leaf);
  return position < 0 ? branching.length : position;
}
