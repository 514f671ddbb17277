import { BoundaryError } from '../errors.ts';
import type { Feedback } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { ScorePair } from './agreement.ts';
import { CoachRecords } from './coach-records.ts';
import { canonicalJson, firstDifference } from './configuration.ts';
import type { Database } from './database.ts';
import {
  bufferOf,
  bytesOf,
  feedbackToRow,
  optionalText,
  rowToFeedback,
  type Scope,
  text,
} from './rows.ts';

const pairsSql = `
SELECT a.agent, t.task_id, f.score AS first, s.score AS second
FROM second_feedback s
JOIN feedback f ON f.action_id = s.action_id AND f.kind = 'scored'
JOIN actions a ON a.id = s.action_id
JOIN trajectories t ON t.id = a.trajectory
WHERE s.coach = ? AND s.kind = 'scored' ORDER BY a.rowid`;

/** Who gave second verdicts, and asked how. */
export type SecondCoach = {
  readonly coach: string;
  /** The keys of `coaching` that can change a verdict. */
  readonly coaching: Readonly<Record<string, unknown>>;
};

/**
 * What a run keeps so that it can be scored and credited again without a model: its tasks, the reference's
 * log-probabilities, and the verdicts of other coaches. The first coach's verdicts are never touched.
 */
export class RescoreRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Records training tasks as they are played; a task that is known already must be the same. */
  recordTasks(tasks: readonly Task[]): void {
    this.#database.transaction(() => {
      for (const { id, prompt, answer, tags, files, table } of tasks) {
        this.#database.insertOnce('tasks', ['id'], {
          id,
          prompt,
          answer: answer ?? null,
          tags: JSON.stringify(tags ?? []),
          files: files === undefined ? null : JSON.stringify(files),
          graded_table: table === undefined ? null : JSON.stringify(table),
        });
      }
    });
  }

  /** A training task that was played; undefined when it was not. */
  task(id: string): Task | undefined {
    const row = this.#database.get('SELECT * FROM tasks WHERE id = ?', id);
    if (row === undefined) return undefined;
    const answer = optionalText(row.answer);
    const tags = JSON.parse(text(row.tags)) as string[];
    const [files, table] = [optionalText(row.files), optionalText(row.graded_table)];
    return {
      id,
      prompt: text(row.prompt),
      ...(answer === undefined ? {} : { answer }),
      ...(tags.length === 0 ? {} : { tags }),
      ...(files === undefined ? {} : { files: JSON.parse(files) }),
      ...(table === undefined ? {} : { table: JSON.parse(table) }),
    };
  }

  /** Records the reference's log-probabilities of each action's tokens, in place of any: a step may be done again. */
  recordReferences(logprobs: ReadonlyMap<string, Float32Array>): void {
    this.#database.transaction(() => {
      for (const [id, values] of logprobs) {
        const sql = 'INSERT OR REPLACE INTO reference_logprobs VALUES (?, ?)';
        this.#database.run(sql, id, bytesOf(values));
      }
    });
  }

  /** By action id, for the actions of a scope. */
  referencesOf(scope: Scope): Map<string, Float32Array> {
    const sql =
      'SELECT r.* FROM reference_logprobs r JOIN actions a ON a.id = r.action_id WHERE a.scope = ?';
    const rows = this.#database.all(sql, String(scope));
    return new Map(
      rows.map((row) => [text(row.action_id), new Float32Array(bufferOf(row.logprobs))]),
    );
  }

  /** Records another coach's verdict. A verdict may follow where there was none, never the other way round. */
  recordSecond(coach: string, feedback: Feedback): void {
    const row = { coach, ...feedbackToRow(feedback) };
    this.#database.transaction(() => {
      this.#database.run(
        "DELETE FROM second_feedback WHERE coach = ? AND action_id = ? AND kind = 'unscored'",
        ...[coach, feedback.actionId],
      );
      this.#database.insertOnce('second_feedback', ['coach', 'action_id'], row);
    });
  }

  /** Verdicts of another coach on a scope's actions, by action id. */
  secondOf(coach: string, scope: Scope): Map<string, Feedback> {
    const rows = this.#database.all(
      'SELECT s.* FROM second_feedback s JOIN actions a ON a.id = s.action_id WHERE s.coach = ? AND a.scope = ?',
      ...[coach, String(scope)],
    );
    return new Map(rows.map(rowToFeedback).map((feedback) => [feedback.actionId, feedback]));
  }

  /** The labels under which there are second verdicts. */
  labels(): string[] {
    const rows = this.#database.all('SELECT DISTINCT coach FROM second_feedback ORDER BY coach');
    return rows.map(({ coach }) => text(coach));
  }

  /** Who gave the verdicts of a label; undefined where that was not recorded. */
  secondCoach(label: string): SecondCoach | undefined {
    const row = this.#database.get('SELECT * FROM second_coaches WHERE label = ?', label);
    if (row === undefined) return undefined;
    return { coach: text(row.coach), coaching: JSON.parse(text(row.coaching)) };
  }

  /**
   * Opens a label for one coach, asked in one way: verdicts of two kinds under it could not be told apart.
   *
   * @throws BoundaryError("config") when it holds verdicts of another kind, or of nobody knows whom
   */
  claimLabel(label: string, second: SecondCoach): void {
    const known = this.secondCoach(label);
    if (this.labels().includes(label)) {
      const change =
        known === undefined
          ? 'an older teamtune did not record whose'
          : firstDifference(known, second);
      if (change === undefined) return;
      throw new BoundaryError(
        'config',
        `there are second verdicts under "${label}" already, of another kind (${change}): choose another label with --as`,
      );
    }
    const { coach, coaching } = second;
    this.#database.run(
      'INSERT OR REPLACE INTO second_coaches VALUES (?, ?, ?)',
      ...[label, coach, canonicalJson(coaching)],
    );
  }

  /** The books of a label's calls, over all starts of `rescore`. */
  booksOf(label: string): CoachRecords {
    return new CoachRecords(this.#database, label);
  }

  /** Agent → both verdicts on its actions, where both coaches gave one. */
  pairsWith(coach: string): Map<string, ScorePair[]> {
    const pairs = new Map<string, ScorePair[]>();
    for (const row of this.#database.all(pairsSql, coach)) {
      const own = pairs.get(text(row.agent)) ?? [];
      own.push({
        group: text(row.task_id),
        first: Number(row.first),
        second: Number(row.second),
      });
      pairs.set(text(row.agent), own);
    }
    return pairs;
  }
}
