import type { Clock } from '../../types/clock.ts';

/** How a try ended: with a reply, or without one. */
type Outcome =
  | { readonly status: number; readonly detail: string }
  | { readonly interrupted: string; readonly isTimeout: boolean };

/** Work that waits for the server on somebody's time. */
export type TimedWork = {
  /** Absent = nobody counts. */
  readonly clock: Clock | undefined;
  /** Whether its own last try found the server away. */
  isRefused: boolean;
  /** Lets go of the clock; absent = it runs. */
  release?: (() => void) | undefined;
};

/** Whether a server is there, as the tries of all requests tell. */
export type Outage = {
  /**
   * Told how every try ended.
   *
   * @param of.isHeld whether the server may hold the question open until there is an answer
   * @param of.work what the request is part of
   */
  readonly tried: (
    outcome: Outcome,
    of?: { readonly isHeld?: boolean; readonly work?: TimedWork },
  ) => void;
  /**
   * Does work of which `clock` counts the time: it is held while the server is away, and until the work's own requests get
   * through again.
   */
  readonly timed: <Result>(
    clock: Clock | undefined,
    work: (work: TimedWork) => Promise<Result>,
  ) => Promise<Result>;
};

/**
 * Says once in an outage that the server does not serve, when that has lasted, and once that it does again: a person would
 * else watch a run stand still without a word.
 *
 * @param how.afterMs how long tries must have failed before it is said
 * @param now milliseconds of a clock
 */
export function createOutage(
  url: string,
  how: { readonly afterMs: number; readonly note: (text: string) => void },
  now: () => number = () => performance.now(),
): Outage {
  const underWay = new Set<TimedWork>();
  let since: number | undefined;
  let isSaid = false;
  const say = (failure: string | undefined): void => {
    if (failure === undefined) {
      if (isSaid) how.note(`the server at ${url} serves again`);
      since = undefined;
      isSaid = false;
      return;
    }
    since ??= now();
    if (isSaid || now() - since < how.afterMs) return;
    isSaid = true;
    how.note(`the server at ${url} ${failure}: trying again`);
  };
  const holdOrRelease = (work: TimedWork): void => {
    if (since === undefined && !work.isRefused) {
      work.release?.();
      work.release = undefined;
    } else work.release ??= work.clock?.hold();
  };
  return {
    tried: (outcome, { isHeld = false, work } = {}) => {
      const failure = failureOf(outcome, isHeld);
      const wasAway = since !== undefined;
      say(failure);
      if (work) work.isRefused = failure !== undefined;
      const isAway = since !== undefined;
      if (isAway !== wasAway) underWay.forEach(holdOrRelease);
      else if (work) holdOrRelease(work);
    },
    timed: async (clock, work) => {
      const one: TimedWork = { clock, isRefused: false };
      underWay.add(one);
      holdOrRelease(one);
      try {
        return await work(one);
      } finally {
        underWay.delete(one);
        one.release?.();
      }
    },
  };
}

/** Undefined where the server is there: it may be busy, or hold a question open until there is an answer. */
function failureOf(outcome: Outcome, isHeld: boolean): string | undefined {
  if ('interrupted' in outcome) {
    return isHeld && outcome.isTimeout ? undefined : `gives no answer (${outcome.interrupted})`;
  }
  const { status, detail } = outcome;
  if (status !== 402 && status < 500) return undefined;
  return `answers with status ${status} ${detail}`.trimEnd();
}
