import { setTimeout as sleep } from 'node:timers/promises';
import { BoundaryError } from '../../errors.ts';
import { waitAfter } from './connection.ts';
import type { Patience } from './patience.ts';

/** What SkyRL answers where every place for an adapter is taken. */
const noPlace = /maximum number of lora adapters/i;

/**
 * Has a model made, and waits where the server has no place for it: the places of a run that was killed are free once the
 * server has given up its session, which takes SkyRL five to six minutes.
 *
 * @throws BoundaryError("engine") when none is free in time, or the model cannot be made for another reason
 */
export async function awaitPlace<Made>(
  make: () => Promise<Made>,
  { patience, note }: { readonly patience: Patience; readonly note: (text: string) => void },
): Promise<Made> {
  const deadline = performance.now() + patience.placeMs;
  for (let tries = 0; ; tries++) {
    try {
      return await make();
    } catch (error) {
      const isFull = error instanceof BoundaryError && noPlace.test(error.message);
      if (!isFull || performance.now() > deadline) throw error;
      if (tries === 0) {
        const minutes = Math.ceil(patience.placeMs / 60_000);
        note(
          `${error.message}: waiting up to ${minutes} minutes for the places of a run that was killed; where there is none, start the server with one for each agent, one for the reference and one for the base`,
        );
      }
      await sleep(waitAfter(tries, patience));
    }
  }
}
