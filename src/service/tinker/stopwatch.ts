/** Counts tokens, and the seconds in which at least one of some pieces of work was under way. */
export type Stopwatch = {
  readonly during: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly count: (tokens: number) => void;
  readonly seconds: () => number;
  readonly tokens: () => number;
};

export function createStopwatch(): Stopwatch {
  let [running, since, total, tokens] = [0, 0, 0, 0];
  return {
    during: async (work) => {
      if (running++ === 0) since = performance.now();
      try {
        return await work();
      } finally {
        if (--running === 0) total += performance.now() - since;
      }
    },
    count: (more) => {
      tokens += more;
    },
    seconds: () => (total + (running > 0 ? performance.now() - since : 0)) / 1000,
    tokens: () => tokens,
  };
}
