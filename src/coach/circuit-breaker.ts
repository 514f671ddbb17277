import { BoundaryError } from '../errors.ts';
import { describeCallError, waitBeforeRetry } from './call-error.ts';

/** Failures in a row, over all calls of a coach, that count as an outage: more than one action's own tries. */
const FAILURES_OF_AN_OUTAGE = 8;

export type BreakerOptions = {
  readonly name: string;
  /** An outage that lasts longer stops the run; milliseconds. */
  readonly patienceMs: number;
  /** Told when the run pauses, at every try, and when it goes on. */
  readonly onPause: (sentence: string) => void;
};

/**
 * Holds all calls back while a coach is out of order, so that an outage costs no action its score.
 *
 * After eight failures in a row nothing is asked but one probe at a time, at growing intervals or when the provider asks
 * for it; the first answer lets everyone go on.
 */
export class CircuitBreaker {
  readonly #options: BreakerOptions;
  #failures = 0;
  #outage: Outage | undefined;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#outage !== undefined;
  }

  /**
   * Waits until a call may be made. Every admitted call must be followed by `succeeded`, `failed` or `abandoned`.
   *
   * @returns whether it had to wait
   * @throws BoundaryError("coach") when the outage lasts too long, and the reason of `signal`
   */
  async admit(signal: AbortSignal | undefined): Promise<boolean> {
    let hasWaited = false;
    while (this.#outage !== undefined) {
      hasWaited = true;
      const outage = this.#outage;
      if (outage.nextTryAt - outage.since > this.#options.patienceMs) throw this.#gaveUp(outage);
      const waitMs = outage.nextTryAt - performance.now();
      if (!outage.isProbed && waitMs <= 0) {
        outage.isProbed = true;
        return true;
      }
      await changeOrTimeout(outage, outage.isProbed ? undefined : waitMs, signal);
    }
    signal?.throwIfAborted();
    return hasWaited;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#outage === undefined) return;
    const seconds = Math.round((performance.now() - this.#outage.since) / 1000);
    this.#outage.changed.resolve();
    this.#outage = undefined;
    this.#options.onPause(`the coach ${this.#options.name} answers again after ${seconds} s`);
  }

  /** @param error absent = no reply in time */
  failed(error: unknown): void {
    this.#failures += 1;
    if (this.#outage === undefined && this.#failures < FAILURES_OF_AN_OUTAGE) return;
    // A call that was under way when the outage began says nothing that its probe does not.
    if (this.#outage !== undefined && !this.#outage.isProbed) return;
    const before = this.#outage;
    const probes = (before?.probes ?? 0) + 1;
    const now = performance.now();
    this.#outage = {
      since: before?.since ?? now,
      probes,
      nextTryAt: now + waitBeforeRetry(error, probes, Math.random()),
      isProbed: false,
      cause: error === undefined ? 'no reply in time' : describeCallError(error),
      changed: Promise.withResolvers<void>(),
    };
    before?.changed.resolve();
    this.#tell(this.#outage);
  }

  /** The call ended in a way that tells nothing about the coach. */
  abandoned(): void {
    if (this.#outage === undefined) return;
    const before = this.#outage;
    this.#outage = { ...before, isProbed: false, changed: Promise.withResolvers<void>() };
    before.changed.resolve();
  }

  #tell({ since, nextTryAt, cause }: Outage): void {
    const seconds = (ms: number) => `${Math.max(0, Math.ceil(ms / 1000))} s`;
    const now = performance.now();
    const left = seconds(since + this.#options.patienceMs - now);
    this.#options.onPause(
      `paused: waiting for the coach ${this.#options.name} (${cause}); next try in ${seconds(nextTryAt - now)}; without an answer in ${left} the run stops, to be resumed`,
    );
  }

  #gaveUp({ since, cause }: Outage): BoundaryError {
    const seconds = Math.round((performance.now() - since) / 1000);
    const patience = this.#options.patienceMs / 1000;
    return new BoundaryError(
      'coach',
      `the coach ${this.#options.name} has not answered for ${seconds} s (${cause}), and the next try would come after the ${patience} s of coaching.outageSeconds: the run stops here; go on with --resume once it answers, or with a larger coaching.outageSeconds`,
      { retryable: true },
    );
  }
}

type Outage = {
  readonly since: number;
  readonly probes: number;
  readonly nextTryAt: number;
  isProbed: boolean;
  readonly cause: string;
  readonly changed: PromiseWithResolvers<void>;
};

/** Waits for the next change of the outage, at most so many milliseconds. */
async function changeOrTimeout(
  { changed }: Outage,
  waitMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => reject(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  const timer = waitMs === undefined ? undefined : setTimeout(resolve, waitMs);
  try {
    await Promise.race([promise, changed.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
