import { setImmediate as nextTurn } from 'node:timers/promises';

/** Numbers that are encoded in one go, about a millisecond of work: samples and heartbeats go on in between. */
export const numbersPerTurn = 1024;

/**
 * Gives the event loop a turn whenever so many numbers have been encoded since the last.
 *
 * @returns to be called with how many numbers were encoded
 */
export function createPace(): (numbers: number) => Promise<void> {
  let since = 0;
  return async (numbers) => {
    since += numbers;
    if (since < numbersPerTurn) return;
    since = 0;
    await nextTurn();
  };
}
