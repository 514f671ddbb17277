import type { Trajectory } from '../types/trajectory.ts';
import { actionPart, datumOf } from '../update/assemble-data.ts';
import type { Training } from './training.ts';

/** By action id: log-probability of every sampled token under the reference policy of its agent's model. */
export type ReferenceLogprobs = ReadonlyMap<string, Float32Array>;

/** What the reference says of the actions of plays that have not failed. */
export async function scoreUnderReference(
  { reference, ownModels }: Training,
  trajectories: readonly Trajectory[],
): Promise<ReferenceLogprobs> {
  const actions = trajectories.flatMap(({ failure, actions: played }) => (failure ? [] : played));
  const scored = new Map<string, Float32Array>();
  const byReference = Map.groupBy(actions, ({ agent }) => {
    return ownModels?.get(agent)?.reference ?? reference;
  });
  for (const [policy, own] of byReference) {
    const { logprobs } = await policy.forward(own.map(datumOf)).result;
    for (const [row, action] of own.entries()) {
      scored.set(action.id, actionPart(action, logprobs[row] as Float32Array));
    }
  }
  return scored;
}

/** Enough rows for a pass to be worth its start, few enough for one slow play not to hold many up. */
const playsPerPass = 8;

/** Scores plays under the reference while others are still played or judged. */
export type ReferenceStream = {
  /** Takes a play that has ended. @param place its number among the plays, from 0 */
  readonly add: (place: number, trajectory: Trajectory) => void;
  /** Of all plays, once all were added. @throws what broke in one of the passes */
  readonly scored: () => Promise<ReferenceLogprobs>;
  /** Resolves when no pass is under way. */
  readonly settled: () => Promise<void>;
};

/**
 * The reference never changes, so what it says of a play can be asked as soon as that has ended. Which plays go through
 * it together depends on their places alone and not on which ended first: an engine whose numbers depend on what else
 * is in a pass gives those of an uninterrupted run again.
 */
export function streamReference(training: Training, plays: number): ReferenceStream {
  const groups = Array.from({ length: Math.ceil(plays / playsPerPass) }, (_, group) => ({
    size: Math.min(playsPerPass, plays - group * playsPerPass),
    ended: new Map<number, Trajectory>(),
  }));
  const passes: Promise<ReferenceLogprobs>[] = [];
  return {
    add: (place, trajectory) => {
      const number = Math.floor(place / playsPerPass);
      const group = groups[number];
      if (group === undefined) throw new Error(`there is no play ${place} of ${plays}`);
      group.ended.set(place, trajectory);
      if (group.ended.size < group.size) return;
      const inOrder = [...group.ended].toSorted(([first], [second]) => first - second);
      const pass = scoreUnderReference(
        training,
        inOrder.map(([, ended]) => ended),
      );
      // It is thrown when all have played.
      pass.catch(() => undefined);
      passes[number] = pass;
    },
    scored: async () => new Map((await Promise.all(passes)).flatMap((scored) => [...scored])),
    settled: async () => void (await Promise.allSettled(passes)),
  };
}
