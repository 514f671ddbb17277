import { BoundaryError } from '../errors.ts';
import type { CallTotals, EndedCall, StartedCall } from '../run/coach-records.ts';
import type { CoachUsage } from '../types/feedback.ts';
import { costOf, type Price } from './prices.ts';

/** Most that coaching may use; absent = no limit. */
export type Budget = {
  readonly calls?: number | undefined;
  readonly usd?: number | undefined;
  /** `pause`: the run stops and can be resumed with more; `outcome`: it goes on with the outcome as reward. */
  readonly whenSpent: 'pause' | 'outcome';
};

/** Where the books are kept; a run keeps them in its store, so that they outlive the process. */
export type Books = {
  readonly start: (call: StartedCall) => number;
  readonly end: (id: number, call: EndedCall) => void;
  readonly recordCached: (actionId: string, model: string) => void;
  readonly totals: () => CallTotals;
  spentBudget: string | undefined;
};

export type LedgerOptions = {
  readonly model: string;
  readonly books: Books;
  readonly price?: Price;
  readonly budget?: Budget;
};

/** A call to be paid for; sizes are upper bounds. */
export type PlannedCall = {
  readonly actionId?: string;
  readonly inputBytes: number;
  readonly maxOutputTokens: number;
};

/** Leave to make one call; it must be ended exactly once. */
export type Reservation = {
  /** The model replied; tokens that the provider did not count are absent. */
  readonly answered: (tokens: {
    readonly input?: number | undefined;
    readonly output?: number | undefined;
  }) => void;
  /** It did not. @param isUnpaid whether nothing was generated */
  readonly failed: (isUnpaid: boolean) => void;
};

/** Added to the bytes of a question: what a provider puts round it, and the form. */
const ENVELOPE_BYTES = 4_096;

/**
 * The books of one coach: what was used, and leave to use more.
 *
 * The budget is held before every call: the call itself, and the most it can cost, are set aside first. A token is at
 * least one byte, so the bytes of a question bound its tokens. Where the money left does not cover one more call while
 * others are under way, it waits for them: they cost less than was set aside.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  #calls: number;
  /** Costs known, and the bounds of those that never will be. */
  #usd: number;
  #setAside = 0;
  #underWay = 0;
  #isSpent: boolean;
  #ended = Promise.withResolvers<void>();

  /** @throws BoundaryError("config") when there is a budget in money and no price to count it with */
  constructor(options: LedgerOptions) {
    const { budget, price, model, books } = options;
    if (budget?.usd !== undefined && price === undefined) {
      throw new BoundaryError(
        'config',
        `coaching.budget.usd cannot be kept: the price of ${model} is not known; add coaching.prices = { '${model}': { input: …, output: … } } in USD per million tokens, or set coaching.budget.calls`,
      );
    }
    const { calls, usd = 0, usdUnknown } = books.totals();
    this.#options = options;
    this.#calls = calls;
    this.#usd = usd + usdUnknown;
    this.#isSpent = budget !== undefined && books.spentBudget === JSON.stringify(budget);
  }

  get isSpent(): boolean {
    return this.#isSpent;
  }

  /** Used so far, in earlier processes of the run too. */
  usage(): CoachUsage {
    const { usdUnknown, ...totals } = this.#options.books.totals();
    return { ...totals, ...(usdUnknown > 0 ? { usdUnknown } : {}) };
  }

  recordCached(actionId: string): void {
    this.#options.books.recordCached(actionId, this.#options.model);
  }

  /**
   * Sets one call aside.
   *
   * @returns undefined when the budget is spent
   */
  async reserve(call: PlannedCall, signal?: AbortSignal): Promise<Reservation | undefined> {
    const usdBound = this.#boundOf(call);
    while (!this.#covers(usdBound ?? 0)) {
      if (this.#underWay === 0 || this.#hasNoCallLeft()) {
        this.#spend();
        return undefined;
      }
      await this.#ended.promise;
      signal?.throwIfAborted();
    }
    const { actionId } = call;
    const id = this.#options.books.start({
      model: this.#options.model,
      ...(actionId === undefined ? {} : { actionId }),
      ...(usdBound === undefined ? {} : { usdBound }),
    });
    this.#calls += 1;
    this.#underWay += 1;
    this.#setAside += usdBound ?? 0;
    return {
      answered: (tokens) => this.#end(id, usdBound, { status: 'answered', ...this.#paid(tokens) }),
      failed: (isUnpaid) =>
        this.#end(id, usdBound, {
          status: 'failed',
          ...(isUnpaid && usdBound !== undefined ? { usd: 0 } : {}),
        }),
    };
  }

  /** Resolves when no call is under way: what was paid for is not to be thrown away by a stop for want of more. */
  async settled(): Promise<void> {
    while (this.#underWay > 0) await this.#ended.promise;
  }

  #boundOf({ inputBytes, maxOutputTokens }: PlannedCall): number | undefined {
    const { price } = this.#options;
    if (price === undefined) return undefined;
    return costOf(price, { input: inputBytes + ENVELOPE_BYTES, output: maxOutputTokens });
  }

  #covers(usdBound: number): boolean {
    if (this.#isSpent || this.#hasNoCallLeft()) return false;
    const most = this.#options.budget?.usd ?? Number.POSITIVE_INFINITY;
    return this.#usd + this.#setAside + usdBound <= most;
  }

  #hasNoCallLeft(): boolean {
    return this.#calls >= (this.#options.budget?.calls ?? Number.POSITIVE_INFINITY);
  }

  /** Kept in the books, so that a resumed run with the same budget ends coaching at the same step. */
  #spend(): void {
    if (this.#isSpent) return;
    this.#isSpent = true;
    this.#options.books.spentBudget = JSON.stringify(this.#options.budget);
  }

  #paid(tokens: { readonly input?: number | undefined; readonly output?: number | undefined }) {
    const { input, output } = tokens;
    const { price } = this.#options;
    const isCounted = price !== undefined && input !== undefined && output !== undefined;
    return {
      ...(input === undefined ? {} : { inputTokens: input }),
      ...(output === undefined ? {} : { outputTokens: output }),
      ...(isCounted ? { usd: costOf(price, { input, output }) } : {}),
    };
  }

  #end(id: number, usdBound: number | undefined, call: EndedCall): void {
    this.#options.books.end(id, call);
    this.#underWay -= 1;
    this.#setAside -= usdBound ?? 0;
    this.#usd += call.usd ?? usdBound ?? 0;
    this.#ended.resolve();
    this.#ended = Promise.withResolvers<void>();
  }
}

/** Books for coaches outside a run: nothing is kept. */
export function createMemoryBooks(): Books {
  const calls: (StartedCall & Partial<EndedCall>)[] = [];
  let cached = 0;
  return {
    start: (call) => calls.push(call) - 1,
    end: (id, call) => {
      calls[id] = { ...(calls[id] as StartedCall), ...call };
    },
    recordCached: () => {
      cached += 1;
    },
    totals: () => {
      const sum = (of: (call: Partial<EndedCall> & StartedCall) => number | undefined) =>
        calls.reduce((total, call) => total + (of(call) ?? 0), 0);
      return {
        ...{ calls: calls.length, cached, inputTokens: sum(({ inputTokens }) => inputTokens) },
        outputTokens: sum(({ outputTokens }) => outputTokens),
        ...(calls.some(({ usd }) => usd !== undefined) ? { usd: sum(({ usd }) => usd) } : {}),
        usdUnknown: sum(({ usd, usdBound }) => (usd === undefined ? usdBound : 0)),
      };
    },
    spentBudget: undefined,
  };
}

/** Stops a run so that it can go on with more. */
export function spentError(name: string, budget: Budget, usage: CoachUsage): BoundaryError {
  const { calls, usd } = budget;
  const used = (usage.usd ?? 0) + (usage.usdUnknown ?? 0);
  const limits = [
    ...(calls === undefined ? [] : [`${usage.calls} of ${calls} calls`]),
    ...(usd === undefined ? [] : [`$${used.toFixed(4)} of $${usd}`]),
  ];
  return new BoundaryError(
    'coach',
    `the budget for the coach ${name} is spent (${limits.join(', ')} used, and one more call would not fit): raise coaching.budget and give the same command again (train and evaluate: with --resume)`,
    { retryable: true },
  );
}
