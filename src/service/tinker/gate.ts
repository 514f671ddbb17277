/** Lets work through as far as its limits go, first come, first served. */
export type Gate = {
  /** @param bytes what the work holds; work that is larger than the limit goes alone */
  readonly during: <Result>(bytes: number, work: () => Promise<Result>) => Promise<Result>;
};

/** A gate for so many requests, and so many bytes, at a time. */
export function createGate(limits: { readonly requests: number; readonly bytes: number }): Gate {
  const waiting: { readonly bytes: number; readonly enter: () => void }[] = [];
  let [requests, held] = [0, 0];
  const fits = (bytes: number) =>
    requests === 0 || (requests < limits.requests && held + bytes <= limits.bytes);
  const admit = () => {
    for (let next = waiting[0]; next !== undefined && fits(next.bytes); next = waiting[0]) {
      waiting.shift();
      requests += 1;
      held += next.bytes;
      next.enter();
    }
  };
  return {
    during: async (bytes, work) => {
      await new Promise<void>((enter) => {
        waiting.push({ bytes, enter });
        admit();
      });
      try {
        return await work();
      } finally {
        requests -= 1;
        held -= bytes;
        admit();
      }
    },
  };
}

/** What one client has under way at a time, as the protocol's own client holds it. */
export type Gates = {
  /** Passes while they are encoded and sent. */
  readonly passes: Gate;
  /** Samples while they are sent. */
  readonly submissions: Gate;
  /** Samples until they have come. */
  readonly samples: Gate;
};

export function openGates(): Gates {
  return {
    passes: createGate({ requests: Number.POSITIVE_INFINITY, bytes: 50_000_000 }),
    submissions: createGate({ requests: 400, bytes: 10_000_000 }),
    samples: createGate({ requests: 2000, bytes: Number.POSITIVE_INFINITY }),
  };
}
