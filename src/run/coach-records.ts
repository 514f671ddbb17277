import type { Database } from './database.ts';
import { optionalText, type Scope, text } from './rows.ts';

/** A call of the coach that is about to be made. */
export type StartedCall = {
  /** Absent for a call about no action. */
  readonly actionId?: string;
  readonly model: string;
  /** Most that it can cost, USD; absent where there is no price. */
  readonly usdBound?: number;
};

/** How a call ended. Tokens and money that are not known are absent, and count as `usdBound` against a budget. */
export type EndedCall = {
  readonly status: 'answered' | 'failed';
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly usd?: number;
};

/** What calls of the coach came to. */
export type CallTotals = {
  readonly calls: number;
  /** Verdicts taken from the cache: no call, no cost. */
  readonly cached: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Known costs, USD; absent where no call had a price. */
  readonly usd?: number;
  /** Most that the calls of unknown cost can have cost, USD. */
  readonly usdUnknown: number;
};

export type AgentCalls = CallTotals & { readonly agent: string };

const sums = `
  sum(c.status <> 'cached') AS calls, sum(c.status = 'cached') AS cached,
  total(c.input_tokens) AS inputTokens, total(c.output_tokens) AS outputTokens,
  sum(c.usd) AS usd, total(iif(c.usd IS NULL, c.usd_bound, 0)) AS usdUnknown`;

/**
 * The coach's calls of a run, each written down before it is made: a process that is killed leaves it behind as one of
 * unknown cost, so that a resumed run can never spend more than its budget.
 */
export class CoachRecords {
  readonly #database: Database;
  readonly #label: string | null;

  /** @param label of second verdicts, whose calls have books of their own; absent = the run's own coach */
  constructor(database: Database, label?: string) {
    this.#database = database;
    this.#label = label ?? null;
  }

  /** @returns the number under which the call is to be ended */
  start(call: StartedCall): number {
    return this.#insert(call, 'pending');
  }

  end(id: number, { status, inputTokens, outputTokens, usd }: EndedCall): void {
    this.#database.run(
      'UPDATE coach_calls SET status = ?, input_tokens = ?, output_tokens = ?, usd = ? WHERE id = ?',
      ...[status, inputTokens ?? null, outputTokens ?? null, usd ?? null, id],
    );
  }

  /** Notes a verdict that needed no call. */
  recordCached(actionId: string, model: string): void {
    this.#insert({ actionId, model, usdBound: 0 }, 'cached');
  }

  /** The budget that is used up, as JSON; undefined while there is some left. */
  get spentBudget(): string | undefined {
    return optionalText(
      this.#database.get('SELECT value FROM run WHERE key = ?', this.#spentKey)?.value,
    );
  }

  set spentBudget(budget: string) {
    this.#database.run('INSERT OR REPLACE INTO run VALUES (?, ?)', this.#spentKey, budget);
  }

  get #spentKey(): string {
    return this.#label === null ? 'spent-budget' : `spent-budget:${this.#label}`;
  }

  /** Keeps what a play was shown of the coach's verdict, for good: later actions may rest on it. */
  recordShown(actionId: string, words: string | undefined): void {
    const row = { action_id: actionId, words: words ?? null };
    this.#database.insertOnce('shown_feedback', ['action_id'], row);
  }

  /** What plays of a scope were shown, by action id; undefined = that there was no verdict. */
  shownOf(scope: Scope): Map<string, string | undefined> {
    const rows = this.#database.all(
      'SELECT s.* FROM shown_feedback s JOIN actions a ON a.id = s.action_id WHERE a.scope = ?',
      String(scope),
    );
    return new Map(rows.map((row) => [text(row.action_id), optionalText(row.words)]));
  }

  totals(): CallTotals {
    const sql = `SELECT ${sums} FROM coach_calls c WHERE c.label IS ?`;
    const row = this.#database.get(sql, this.#label);
    return totalsOf(row ?? {});
  }

  /** Totals by agent, of all scopes together or of one. */
  byAgent(scope?: Scope): AgentCalls[] {
    const inScope = scope === undefined ? '' : 'AND a.scope = ?';
    return this.#database
      .all(
        `SELECT a.agent, ${sums} FROM coach_calls c JOIN actions a ON a.id = c.action_id WHERE c.label IS ? ${inScope} GROUP BY a.agent ORDER BY min(c.id)`,
        ...[this.#label, ...(scope === undefined ? [] : [String(scope)])],
      )
      .map((row) => ({ agent: text(row.agent), ...totalsOf(row) }));
  }

  #insert({ actionId, model, usdBound }: StartedCall, status: 'pending' | 'cached'): number {
    this.#database.run(
      'INSERT INTO coach_calls (action_id, model, status, usd_bound, label) VALUES (?, ?, ?, ?, ?)',
      ...[actionId ?? null, model, status, usdBound ?? null, this.#label],
    );
    return Number(this.#database.get('SELECT last_insert_rowid() AS id')?.id);
  }
}

function totalsOf(row: Readonly<Record<string, unknown>>): CallTotals {
  return {
    calls: Number(row.calls ?? 0),
    cached: Number(row.cached ?? 0),
    inputTokens: Number(row.inputTokens ?? 0),
    outputTokens: Number(row.outputTokens ?? 0),
    ...(row.usd === null || row.usd === undefined ? {} : { usd: Number(row.usd) }),
    usdUnknown: Number(row.usdUnknown ?? 0),
  };
}
