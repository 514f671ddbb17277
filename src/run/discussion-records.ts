import type { Database } from './database.ts';
import type { GradedAnswer } from './discussion-statistics.ts';
import { optionalText, type Scope, text } from './rows.ts';

/** An answer of a discussion, with what it earned where it was trained on. */
export type DiscussionAnswer = Omit<GradedAnswer, 'trajectoryId'> & {
  readonly actionId: string;
  /** The verifier's, in [0, 1]. */
  readonly verdict?: number;
  /** Parts of the reward; absent where there is none. */
  readonly reward?: {
    readonly discussion: number;
    readonly revision: number;
    readonly influence: number;
  };
};

/** What agents of discussions answered, how that was graded and rewarded, part by part. */
export class DiscussionRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Records answers in place of any: a step may be done again. */
  record(answers: readonly DiscussionAnswer[]): void {
    const sql = 'INSERT OR REPLACE INTO discussion_answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)';
    this.#database.transaction(() => {
      for (const { actionId, turn, extracted, isRight, verdict, reward } of answers) {
        const grade = isRight === undefined ? null : Number(isRight);
        const parts = [reward?.discussion, reward?.revision, reward?.influence];
        const numbers = [verdict, ...parts].map((part) => part ?? null);
        this.#database.run(sql, actionId, turn, extracted ?? null, grade, ...numbers);
      }
    });
  }

  /** Graded answers of the ended plays of a scope. */
  answersOf(scope: Scope): GradedAnswer[] {
    const rows = this.#database.all(
      `SELECT d.turn, d.extracted, d.correct, a.agent, a.trajectory
       FROM discussion_answers d JOIN actions a ON a.id = d.action_id
       WHERE a.scope = ? ORDER BY a.trajectory, a.turn`,
      String(scope),
    );
    return rows.map((row) => {
      const extracted = optionalText(row.extracted);
      return {
        ...{ trajectoryId: text(row.trajectory), agent: text(row.agent), turn: Number(row.turn) },
        ...(extracted === undefined ? {} : { extracted }),
        ...(row.correct === null ? {} : { isRight: row.correct === 1 }),
      };
    });
  }

  /** Whether each graded answer of a scope is right, by the id of the action that ends with it. */
  gradesOf(scope: Scope): Map<string, boolean> {
    const rows = this.#database.all(
      `SELECT d.action_id, d.correct FROM discussion_answers d JOIN actions a ON a.id = d.action_id
       WHERE a.scope = ? AND d.correct IS NOT NULL`,
      String(scope),
    );
    return new Map(rows.map(({ action_id: id, correct }) => [text(id), correct === 1]));
  }

  /** The scopes that have answers: steps by their number, and evaluations, in the order in which they were played. */
  scopes(): string[] {
    const rows = this.#database.all(
      `SELECT a.scope, min(a.rowid) AS first FROM discussion_answers d
       JOIN actions a ON a.id = d.action_id GROUP BY a.scope ORDER BY first`,
    );
    return rows.map(({ scope }) => text(scope));
  }
}
