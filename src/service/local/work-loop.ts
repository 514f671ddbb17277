import { setImmediate as nextTurn } from 'node:timers/promises';

/** Does one unit of work (a decode step, a micro-batch); false when there is nothing to do. */
export type WorkSource = () => boolean;

/** Runs units of work one at a time and gives the event loop a turn after each. */
export type WorkLoop = {
  /** Says that some source has work. */
  readonly wake: () => void;
  /** Resolves when the unit under way is finished; no other starts after it. */
  readonly stop: () => Promise<void>;
};

/**
 * A cooperative loop: every turn asks each source for one unit, in order.
 *
 * @param sources must handle their own errors; what they throw rejects `stop`
 */
export function startWorkLoop(sources: readonly WorkSource[]): WorkLoop {
  let stopped = false;
  // Work may come to a source that this round has already asked: then there is another round.
  let isWoken = false;
  let running: Promise<void> | undefined;
  const run = async (): Promise<void> => {
    while (isWoken) {
      isWoken = false;
      for (const source of sources) {
        await nextTurn();
        if (stopped) return;
        isWoken = source() || isWoken;
      }
    }
    running = undefined;
  };
  return {
    wake: () => {
      isWoken = true;
      if (!stopped) running ??= run();
    },
    stop: async () => {
      stopped = true;
      await running;
    },
  };
}
