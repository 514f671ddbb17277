import { BoundaryError } from '../../errors.ts';
import type { Ticket } from '../../types/training-service.ts';

/** Work in units: each `next()` is one; the returned value is the result. A promise is waited for outside the queue. */
export type UnitsOfWork<Result> = Generator<void, Result | Promise<Result>>;

type Job = { readonly step: () => boolean; readonly fail: (error: unknown) => void };

/** Jobs of one policy, done strictly in the order in which they came. */
export type WorkQueue = {
  readonly submit: <Result>(start: () => UnitsOfWork<Result>) => Ticket<Result>;
  /** Does one unit of the oldest job; false when there is none. */
  readonly step: () => boolean;
  /** Refuses waiting and later jobs. */
  readonly close: (reason: string) => void;
};

/** @param wake called after each submission */
export function createWorkQueue(wake: () => void): WorkQueue {
  const jobs: Job[] = [];
  let closed: string | undefined;
  const submit = <Result>(start: () => UnitsOfWork<Result>): Ticket<Result> => {
    if (closed !== undefined) return refusedTicket(closed);
    const result = new Promise<Result>((resolve, reject) => {
      jobs.push(createJob(start, resolve, reject));
    });
    // A caller may look at a later ticket first; the error stays in the promise and is not lost.
    result.catch(() => undefined);
    wake();
    return { submitted: Promise.resolve(), result };
  };
  const step = (): boolean => {
    const job = jobs[0];
    if (job === undefined) return false;
    if (job.step()) jobs.shift();
    return true;
  };
  const close = (reason: string): void => {
    closed = reason;
    for (const job of jobs.splice(0)) job.fail(new BoundaryError('engine', reason));
  };
  return { submit, step, close };
}

function refusedTicket(reason: string): Ticket<never> {
  const refused = Promise.reject(new BoundaryError('engine', reason));
  refused.catch(() => undefined);
  return { submitted: refused, result: refused };
}

function createJob<Result>(
  start: () => UnitsOfWork<Result>,
  resolve: (result: Result | Promise<Result>) => void,
  reject: (error: unknown) => void,
): Job {
  let units: UnitsOfWork<Result> | undefined;
  const step = (): boolean => {
    try {
      units ??= start();
      const turn = units.next();
      if (turn.done === true) resolve(turn.value);
      return turn.done === true;
    } catch (error) {
      reject(error);
      return true;
    }
  };
  return { step, fail: reject };
}
