import type { Database } from './database.ts';
import { optionalText, type Scope, text } from './rows.ts';

/** What an action of a tree of plays was worth, and what became of it. */
export type TreeNode = {
  readonly actionId: string;
  /** In [0, 1]. */
  readonly value: number;
  /** Plays that go through it. */
  readonly leaves: number;
  readonly isPositive: boolean;
  /** Why it is no example; absent where it is one. */
  readonly dropped?: string;
  /** Pairs in which it is the better and the worse one. */
  readonly preferred: number;
  readonly rejected: number;
};

/** A node with what was said there. */
export type SpokenNode = TreeNode & {
  readonly parent?: string;
  readonly agent: string;
  readonly text: string;
};

/** The trees of plays of a run, node by node. */
export class TreeRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Records nodes in place of any: a step may be done again. */
  record(nodes: readonly TreeNode[]): void {
    const sql = 'INSERT OR REPLACE INTO tree_nodes VALUES (?, ?, ?, ?, ?, ?, ?)';
    this.#database.transaction(() => {
      for (const { actionId, value, leaves, isPositive, dropped, preferred, rejected } of nodes) {
        const label = [Number(isPositive), dropped ?? null] as const;
        this.#database.run(sql, actionId, value, leaves, ...label, preferred, rejected);
      }
    });
  }

  /** Whether anything was recorded. */
  get isEmpty(): boolean {
    return this.#database.get('SELECT 1 FROM tree_nodes LIMIT 1') === undefined;
  }

  /** Value of every action of a scope's trees, by action id, in the order in which they were played. */
  valuesOf(scope: Scope): ReadonlyMap<string, number> {
    const rows = this.#database.all(
      `SELECT n.action_id, n.value FROM tree_nodes n JOIN actions a ON a.id = n.action_id
       WHERE a.scope = ? ORDER BY a.trajectory, a.turn`,
      String(scope),
    );
    return new Map(rows.map((row) => [text(row.action_id), Number(row.value)]));
  }

  /** Ids of the questions of a scope whose trees gave most pairs, most first. */
  liveliest(scope: Scope, count: number): string[] {
    const rows = this.#database.all(
      `SELECT t.task_id, sum(n.preferred) AS pairs FROM trajectories t
       JOIN actions a ON a.trajectory = t.id JOIN tree_nodes n ON n.action_id = a.id
       WHERE t.scope = ? GROUP BY t.task_id ORDER BY pairs DESC, t.task_id LIMIT ?`,
      String(scope),
      count,
    );
    return rows.map((row) => text(row.task_id));
  }

  /** The tree of one question in the order of its plays. */
  treeOf(scope: Scope, taskId: string): SpokenNode[] {
    const rows = this.#database.all(
      `SELECT n.*, a.parent, a.agent, a.text FROM trajectories t
       JOIN actions a ON a.trajectory = t.id JOIN tree_nodes n ON n.action_id = a.id
       WHERE t.scope = ? AND t.task_id = ? ORDER BY t.sample, a.turn`,
      String(scope),
      taskId,
    );
    return rows.map((row) => {
      const [parent, dropped] = [optionalText(row.parent), optionalText(row.dropped)];
      return {
        ...{ actionId: text(row.action_id), agent: text(row.agent), text: text(row.text) },
        ...{ value: Number(row.value), leaves: Number(row.leaves) },
        ...{ preferred: Number(row.preferred), rejected: Number(row.rejected) },
        isPositive: row.positive === 1,
        ...(parent === undefined ? {} : { parent }),
        ...(dropped === undefined ? {} : { dropped }),
      };
    });
  }
}
