import { BoundaryError } from '../../errors.ts';
import type { Ticket } from '../../types/training-service.ts';

/** What a job leaves behind once the server has all of it: the result to wait for. */
export type Submitted<Result> = { readonly result: Promise<Result> };

/** Jobs of one policy: each is submitted whole before the next begins, and their results are waited for side by side. */
export type SubmissionQueue = {
  readonly submit: <Result>(job: () => Promise<Submitted<Result>>) => Ticket<Result>;
  /** Refuses jobs that have not begun, and later ones. */
  readonly close: (reason: string) => void;
};

export function createSubmissionQueue(): SubmissionQueue {
  let last: Promise<unknown> = Promise.resolve();
  let closed: string | undefined;
  const submit = <Result>(job: () => Promise<Submitted<Result>>): Ticket<Result> => {
    const begun = last.then(() => {
      if (closed !== undefined) throw new BoundaryError('engine', closed);
      return job();
    });
    const submitted = begun.then(() => undefined);
    const result = begun.then((job) => job.result);
    // A caller may look at a later ticket first; the errors stay in the promises and are not lost.
    submitted.catch(() => undefined);
    result.catch(() => undefined);
    last = submitted.catch(() => undefined);
    return { submitted, result };
  };
  return {
    submit,
    close: (reason) => {
      closed = reason;
    },
  };
}
