import type { Clock } from '../types/clock.ts';

/** The time that a play has. Whoever makes the play wait, through no fault of its own, holds it. */
export type PlayClock = Clock & {
  /** Aborted when the time is up. */
  readonly deadline: AbortSignal;
  readonly stop: () => void;
};

/** The longest that a timer takes; with more it goes off at once. */
const longestTimerMs = 2 ** 31 - 1;

export function startPlayClock(limitMs: number): PlayClock {
  const deadline = new AbortController();
  let [leftMs, holders, since] = [limitMs, 0, 0];
  let timer: NodeJS.Timeout | undefined;
  const run = () => {
    since = performance.now();
    const ring = () => deadline.abort(new Error('the time of the play is up'));
    timer = setTimeout(ring, Math.min(longestTimerMs, leftMs));
  };
  const pause = () => {
    clearTimeout(timer);
    leftMs -= performance.now() - since;
  };
  let isStopped = false;
  const hold = () => {
    if (holders++ === 0) pause();
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      if (--holders === 0 && !isStopped) run();
    };
  };
  run();
  return {
    deadline: deadline.signal,
    hold,
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
