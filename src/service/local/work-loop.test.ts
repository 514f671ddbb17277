import { describe, expect, it } from 'vitest';
import { startWorkLoop } from './work-loop.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('startWorkLoop', () => {
  it('finds work that comes to a source it has just asked', async () => {
    const waiting = { first: 1, second: 1 };
    const loop = startWorkLoop([
      () => waiting.first-- > 0,
      () => {
        if (waiting.second-- <= 0) return false;
        // The last unit of this source gives work to the one before it, as a finished job's caller may.
        setImmediate(() => {
          waiting.first = 1;
          loop.wake();
        });
        return true;
      },
    ]);
    for (let round = 0; round < 20; round++) {
      waiting.first = 1;
      waiting.second = 1;
      loop.wake();
      for (let count = 0; count < 12; count++) await turn();
      expect(waiting.first).toBeLessThan(1);
    }
  });

  it('finds work that comes at any turn of a round', async () => {
    for (let delay = 0; delay < 8; delay++) {
      let waiting = 1;
      const idle = () => false;
      const loop = startWorkLoop([() => waiting-- > 0, idle, idle]);
      loop.wake();
      for (let count = 0; count < delay; count++) await turn();
      waiting = 1;
      loop.wake();
      for (let count = 0; count < 12; count++) await turn();
      expect(waiting).toBeLessThan(1);
    }
  });

  it('starts nothing after stop', async () => {
    let done = 0;
    const loop = startWorkLoop([() => ++done > 0]);
    loop.wake();
    await turn();
    await loop.stop();
    const count = done;
    loop.wake();
    await turn();
    await turn();
    expect(done).toBe(count);
  });
});
