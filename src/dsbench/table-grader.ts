import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { BoundaryError } from '../errors.ts';
import type { Outcome } from '../types/feedback.ts';
import type { WorkspaceFiles } from '../types/sandbox.ts';
import type { TableTask, Task } from '../types/task.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { type Fallbacks, fairMetrics } from './fair-metrics.ts';
import { type Answers, failed, gradeTable, readAnswers, type TableGrade } from './grade-table.ts';
import { metricNamed } from './metrics.ts';

/** What a team hands in. */
const submissionFile = 'submission.csv';

/** Answers up to this size are read once. */
const keptBytes = 8 * 2 ** 20;

/** @param files of the play at its end; absent = none, as of a play that broke */
type TableGrader = (
  task: Task,
  play: Pick<Trajectory, 'id' | 'actions'>,
  files?: WorkspaceFiles,
) => Promise<Outcome>;

/**
 * A grader of {@link submissionFile}: a play is right when its submission can be used and its last agent wrote it; it has
 * fair metrics either way.
 */
export function createTableGrader(fallbacks: Fallbacks): TableGrader {
  const kept = new Map<string, Promise<Answers>>();
  const answersOf = async (path: string): Promise<Answers> => {
    const known = kept.get(path);
    if (known !== undefined) return known;
    const reading = readAnswers(path);
    if ((await stat(path)).size <= keptBytes) kept.set(path, reading);
    return reading;
  };
  return async (task, play, files) => {
    const table = tableOf(task);
    const answers = await answersOf(table.answers);
    const grade = await gradeFiles(table, answers, { play, files });
    const truths = table.targets.map((name) => answers.cells[answers.header.indexOf(name)] ?? []);
    return {
      trajectoryId: play.id,
      correct: grade.success,
      extracted: describe(table, grade),
      measures: fairMetrics(grade, table, truths, fallbacks),
    };
  };
}

async function gradeFiles(
  { metric, idColumn, targets }: TableTask,
  answers: Answers,
  left: { readonly play: Pick<Trajectory, 'actions'>; readonly files: WorkspaceFiles | undefined },
): Promise<TableGrade> {
  const { play, files } = left;
  const isThere = (await files?.list())?.some(({ path }) => path === submissionFile);
  const stale = isThere ? staleFault(play) : undefined;
  if (stale !== undefined) return stale;
  const content = isThere ? await files?.read(submissionFile) : undefined;
  const submission = content === undefined ? undefined : Readable.from([Buffer.from(content)]);
  return gradeTable(submission, answers, metricNamed(metric), { id: idColumn, targets });
}

/** A placeholder of an earlier agent is not what the team hands in: only what the last one wrote is. */
function staleFault({ actions }: Pick<Trajectory, 'actions'>): TableGrade | undefined {
  const writes = ({ toolResults }: Action) =>
    toolResults.some(({ files }) => files?.written.some(({ path }) => path === submissionFile));
  const writer = actions.findLast(writes)?.agent;
  const last = actions.at(-1)?.agent;
  if (writer !== undefined && writer === last) return undefined;
  const author = writer ?? 'no agent';
  return failed('stale', `${submissionFile} is by ${author}, and not by ${last}, who acted last`);
}

/** `roc_auc 0.8123`, or the fault with its reason. */
function describe({ metric }: TableTask, grade: TableGrade): string {
  if (!grade.success) return `${grade.fault}: ${grade.reason}`;
  return grade.value === undefined ? (grade.reason ?? '') : `${metric} ${grade.value}`;
}

/** How a task's submission is graded. @throws BoundaryError("task") when the task does not say */
export function tableOf({ id, table }: Task): TableTask {
  if (table !== undefined) return table;
  throw new BoundaryError(
    'task',
    `tasks.kind is dsbench, but the task ${id} has no \`table\` that says how it is graded`,
  );
}
