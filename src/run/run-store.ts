import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { BoundaryError } from '../errors.ts';
import type { Feedback, Outcome } from '../types/feedback.ts';
import type { Metrics } from '../types/metrics.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import type { AuditedAction } from './audit.ts';
import { CoachRecords } from './coach-records.ts';
import { canonicalJson, firstDifference, hashOf, without } from './configuration.ts';
import type { Database } from './database.ts';
import { DiscussionRecords } from './discussion-records.ts';
import { exportJsonl } from './export-jsonl.ts';
import { lockRun, type RunLock } from './lock-run.ts';
import { openDatabase, prepareDirectory, type RunMode } from './open-database.ts';
import { RescoreRecords } from './rescore-records.ts';
import {
  actionToRow,
  type EvaluationRow,
  evaluationToRow,
  feedbackToRow,
  optionalText,
  outcomeToRow,
  rowToAction,
  rowToEvaluation,
  rowToFeedback,
  rowToOutcome,
  rowToTrajectory,
  type Scope,
  text,
  trajectoryToRow,
} from './rows.ts';
import {
  type AgentTotals,
  agentTotals,
  auditedActions,
  type CountedCause,
  countedCauses,
} from './summaries.ts';
import { TreeRecords } from './tree-records.ts';

export type Evaluation = { readonly name: string; readonly rows: readonly EvaluationRow[] };
export type StepMetrics = { readonly step: number; readonly metrics: Metrics };
export type CompletedStep = {
  readonly step: number;
  readonly checkpoint: string;
  readonly completedAt: Date;
};

/** The scope of the plays of an evaluation. */
export function evaluationScope(name: string): string {
  return `eval:${name}`;
}

/**
 * Opens the record of a run.
 *
 * @param options.mode `create` a new one, `resume` writing an existing one, or `read` (also while another process writes)
 * @throws BoundaryError("run") when the directory does not fit the mode, or another process is writing it
 */
export function openRun(directory: string, options: { readonly mode: RunMode }): Run {
  const { mode } = options;
  const absolute = resolve(directory);
  prepareDirectory(absolute, mode);
  if (mode === 'read') return new Run(absolute, openDatabase(absolute, mode));
  const lock = lockRun(absolute, () => writerOf(absolute));
  try {
    const run = new Run(absolute, openDatabase(absolute, mode), lock);
    run.introduceWriter();
    return run;
  } catch (error) {
    lock.release();
    throw error;
  }
}

function writerOf(directory: string): string {
  try {
    const run = openRun(directory, { mode: 'read' });
    const writer = run.writer;
    run.close();
    return writer ?? 'another process';
  } catch (error) {
    // The other process may be about to make the tables.
    if (error instanceof BoundaryError) return 'another process';
    throw error;
  }
}

/**
 * Everything a run has done, in `run.db`. Each record is one transaction: it is there whole or not at all.
 * Recording the same thing twice changes nothing; recording something else under the same id is an error.
 */
export class Run {
  readonly directory: string;
  /** What scoring and crediting it again needs, and gave. */
  readonly rescores: RescoreRecords;
  /** What the coach was asked, what that cost, and what plays were shown of it. */
  readonly coachRecords: CoachRecords;
  /** What agents answered at each turn of a discussion. */
  readonly discussions: DiscussionRecords;
  /** What the actions of trees of plays were worth. */
  readonly trees: TreeRecords;
  readonly #database: Database;
  readonly #lock: RunLock | undefined;

  constructor(directory: string, database: Database, lock?: RunLock) {
    this.directory = directory;
    this.#database = database;
    this.#lock = lock;
    this.rescores = new RescoreRecords(database);
    this.coachRecords = new CoachRecords(database);
    this.discussions = new DiscussionRecords(database);
    this.trees = new TreeRecords(database);
  }

  close(): void {
    this.#database.close();
    this.#lock?.release();
  }

  /**
   * Takes back a run in which nothing has happened yet, so that the same command can be given again. A folder that is
   * empty then goes, too.
   */
  discard(): void {
    this.close();
    for (const name of ['run.db', 'run.db-wal', 'run.db-shm', 'run.lock']) {
      rmSync(join(this.directory, name), { force: true });
    }
    if (readdirSync(this.directory).length === 0) rmdirSync(this.directory);
  }

  /** The process that wrote last. */
  get writer(): string | undefined {
    return this.#note('writer');
  }

  /** Writes down which process holds the lock, so that a second one can say who is in its way. */
  introduceWriter(): void {
    const writer = `process ${process.pid} on ${hostname()} since ${new Date().toISOString()}`;
    this.#setNote('writer', writer);
  }

  /** The configuration the run was started with, or undefined before `setConfig`. */
  get resolvedConfig(): unknown {
    const config = this.#note('config');
    return config === undefined ? undefined : JSON.parse(config);
  }

  /** SHA-256 of the configuration, or undefined before `setConfig`. */
  get configHash(): string | undefined {
    return this.resolvedConfig === undefined ? undefined : hashOf(this.resolvedConfig);
  }

  /**
   * Stores the resolved configuration.
   *
   * @param options.mayDiffer keys that a resumed run may change, for example `coaching.budget`
   * @throws BoundaryError("config") when the run has another one
   */
  setConfig(config: unknown, options: { readonly mayDiffer?: readonly string[] } = {}): void {
    const stored = this.resolvedConfig;
    const free = options.mayDiffer ?? [];
    const difference =
      stored === undefined
        ? undefined
        : firstDifference(without(stored, free), without(config, free));
    if (difference !== undefined) {
      throw new BoundaryError(
        'config',
        `run ${this.directory} was started with another configuration (${difference}): resume it with the same one, or use another directory`,
      );
    }
    this.#setNote('config', canonicalJson(config));
  }

  recordAction(scope: Scope, action: Action): void {
    this.#database.insertOnce('actions', ['id'], actionToRow(scope, action));
  }

  /**
   * Records the end of a play; that of a play which failed before gives way.
   *
   * @param outcome its grade, recorded together with it: what a grade was read from may be gone afterwards
   * @throws BoundaryError("run") unless all its actions are recorded
   */
  recordTrajectory(scope: Scope, trajectory: Trajectory, outcome?: Outcome): void {
    for (const action of trajectory.actions) {
      if (this.#database.get('SELECT 1 FROM actions WHERE id = ?', action.id) !== undefined)
        continue;
      throw new BoundaryError(
        'run',
        `trajectory ${trajectory.id} ends with action ${action.id}, which is not recorded: record actions as they happen`,
      );
    }
    this.#database.transaction(() => {
      this.#database.run(
        'DELETE FROM trajectories WHERE id = ? AND failure_message IS NOT NULL AND failure_message IS NOT ?',
        trajectory.id,
        trajectory.failure?.message ?? null,
      );
      this.#database.insertOnce('trajectories', ['id'], trajectoryToRow(scope, trajectory));
      if (outcome !== undefined) this.recordOutcome(outcome);
    });
  }

  /** Records a verdict. A verdict may follow where there was none, never the other way round. */
  recordFeedback(feedback: Feedback): void {
    this.#database.transaction(() => {
      this.#database.run(
        "DELETE FROM feedback WHERE action_id = ? AND kind = 'unscored'",
        feedback.actionId,
      );
      this.#database.insertOnce('feedback', ['action_id'], feedbackToRow(feedback));
    });
  }

  recordOutcome(outcome: Outcome): void {
    this.#database.insertOnce('outcomes', ['trajectory_id'], outcomeToRow(outcome));
  }

  /** Actions of a scope by trajectory and turn, those of unfinished plays included. */
  actionsOf(scope: Scope): Action[] {
    return this.#database
      .all('SELECT * FROM actions WHERE scope = ? ORDER BY trajectory, turn, id', String(scope))
      .map(rowToAction);
  }

  /** Ended plays of a scope, by task and sample. */
  trajectoriesOf(scope: Scope): Trajectory[] {
    const actions = new Map(this.actionsOf(scope).map((action) => [action.id, action]));
    return this.#database
      .all('SELECT * FROM trajectories WHERE scope = ? ORDER BY task_id, sample, id', String(scope))
      .map((row) => rowToTrajectory(row, (id) => actions.get(id) ?? this.#action(id)));
  }

  /** One ended play, or undefined. */
  trajectory(id: string): Trajectory | undefined {
    const row = this.#database.get('SELECT * FROM trajectories WHERE id = ?', id);
    return row === undefined ? undefined : rowToTrajectory(row, (action) => this.#action(action));
  }

  /** Feedback of a scope by action id. */
  feedbackOf(scope: Scope): Map<string, Feedback> {
    const rows = this.#database.all(
      'SELECT f.* FROM feedback f JOIN actions a ON a.id = f.action_id WHERE a.scope = ? ORDER BY a.trajectory, a.turn, a.id',
      String(scope),
    );
    return new Map(rows.map(rowToFeedback).map((feedback) => [feedback.actionId, feedback]));
  }

  /** Outcomes of a scope by trajectory id. */
  outcomesOf(scope: Scope): Map<string, Outcome> {
    const rows = this.#database.all(
      'SELECT o.* FROM outcomes o JOIN trajectories t ON t.id = o.trajectory_id WHERE t.scope = ? ORDER BY t.task_id, t.sample',
      String(scope),
    );
    return new Map(rows.map(rowToOutcome).map((outcome) => [outcome.trajectoryId, outcome]));
  }

  /**
   * Stores the metrics of a step in place of any it had: a step that is done again after a kill measures other seconds.
   *
   * @throws BoundaryError("run") when the step is completed, or a value is not a finite number
   */
  recordMetrics(step: number, metrics: Metrics): void {
    this.#database.transaction(() => this.#replaceMetrics(step, metrics));
  }

  /**
   * Marks a step as finished, with its metrics, in one transaction that is on the disk when this returns: a power cut
   * after it loses nothing recorded up to here. Call it after the checkpoint is saved.
   *
   * @param metrics replaces those of `recordMetrics`; absent = keep them
   */
  completeStep(step: number, checkpoint: string, metrics?: Metrics): void {
    this.#database.execute('PRAGMA synchronous = FULL');
    try {
      this.#database.transaction(() => {
        if (metrics !== undefined) this.#replaceMetrics(step, metrics);
        this.#database.insertOnce('steps', ['step'], {
          step,
          checkpoint,
          completed_at: new Date().toISOString(),
        });
      });
    } finally {
      this.#database.execute('PRAGMA synchronous = NORMAL');
    }
    // PASSIVE never waits for readers; what they still need stays in the log.
    this.#database.execute('PRAGMA wal_checkpoint(PASSIVE)');
  }

  /** Takes back that steps after `step` are completed, whose weights are lost; everything recorded of them stays. */
  reopenAfter(step: number): void {
    this.#database.run('DELETE FROM steps WHERE step > ?', step);
  }

  /** Metrics by step, those of an uncompleted step included. */
  metrics(): StepMetrics[] {
    const steps = new Map<number, Record<string, number>>();
    for (const row of this.#database.all('SELECT * FROM metrics ORDER BY step, name')) {
      const metrics = steps.get(Number(row.step)) ?? {};
      metrics[text(row.name)] = Number(row.value);
      steps.set(Number(row.step), metrics);
    }
    return [...steps].map(([step, metrics]) => ({ step, metrics }));
  }

  lastCompletedStep(): number | undefined {
    return this.completedSteps().at(-1)?.step;
  }

  /** Finished steps in order, each with the name of the checkpoint that holds its weights. */
  completedSteps(): CompletedStep[] {
    return this.#database.all('SELECT * FROM steps ORDER BY step').map((row) => ({
      step: Number(row.step),
      checkpoint: text(row.checkpoint),
      completedAt: new Date(text(row.completed_at)),
    }));
  }

  /** Adds graded plays to an evaluation, all of them or none. */
  recordEvaluation(name: string, rows: readonly EvaluationRow[]): void {
    this.#database.transaction(() => {
      for (const row of rows) {
        const graded = evaluationToRow(name, row);
        this.#database.insertOnce('evaluations', ['name', 'task_id', 'sample'], graded);
      }
    });
  }

  /** Evaluations in the order in which they were first recorded. */
  evaluations(): Evaluation[] {
    const byName = new Map<string, EvaluationRow[]>();
    for (const row of this.#database.all('SELECT * FROM evaluations ORDER BY rowid')) {
      const rows = byName.get(text(row.name)) ?? [];
      rows.push(rowToEvaluation(row));
      byName.set(text(row.name), rows);
    }
    return [...byName].map(([name, rows]) => ({ name, rows }));
  }

  /** Ended plays of training steps, failed ones included. */
  countTrainingPlays(): number {
    const sql = "SELECT count(*) AS count FROM trajectories WHERE scope NOT GLOB '*[^0-9]*'";
    return Number(this.#database.get(sql)?.count);
  }

  /** What each agent did in each scope. */
  agentTotals(): AgentTotals[] {
    return agentTotals(this.#database);
  }

  /** Scored actions of training steps with what is known of their plays. */
  auditedActions(): AuditedAction[] {
    return auditedActions(this.#database);
  }

  /** Failed plays, unscored actions and failed tool calls of the whole run, most frequent first. */
  countedCauses(): CountedCause[] {
    return countedCauses(this.#database);
  }

  /** Writes a table as JSON Lines. */
  exportJsonl(table: string, path: string): void {
    exportJsonl(this.#database, table, path);
  }

  #action(id: string): Action {
    const row = this.#database.get('SELECT * FROM actions WHERE id = ?', id);
    if (row !== undefined) return rowToAction(row);
    throw new BoundaryError(
      'run',
      `run database ${this.#database.path}: action ${id} is named by a trajectory and missing: restore the file from a copy`,
    );
  }

  #replaceMetrics(step: number, metrics: Metrics): void {
    const isCompleted =
      this.#database.get('SELECT 1 FROM steps WHERE step = ?', step) !== undefined;
    if (isCompleted) {
      throw new BoundaryError(
        'run',
        `step ${step} of ${this.directory} is completed: its metrics cannot change`,
      );
    }
    this.#database.run('DELETE FROM metrics WHERE step = ?', step);
    for (const [name, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) {
        throw new BoundaryError(
          'run',
          `metric ${name} of step ${step} is ${value}: expected a finite number; leave out what was not measured`,
        );
      }
      this.#database.run('INSERT INTO metrics VALUES (?, ?, ?)', step, name, value);
    }
  }

  #note(key: string): string | undefined {
    return optionalText(this.#database.get('SELECT value FROM run WHERE key = ?', key)?.value);
  }

  #setNote(key: string, value: string): void {
    this.#database.run('INSERT OR REPLACE INTO run VALUES (?, ?)', key, value);
  }
}
