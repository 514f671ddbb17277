/** Runs jobs, at most so many at a time; the others wait in order. */
export type Limiter = <Result>(job: () => Promise<Result>) => Promise<Result>;

export function createLimiter(most: number): Limiter {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (job) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      // The slot is handed over, not freed, so that a newcomer cannot overtake.
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
