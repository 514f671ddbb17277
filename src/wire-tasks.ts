import type { RunConfig } from './config/schema.ts';
import { loadTableTasks } from './dsbench/load-table-tasks.ts';
import { createTableGrader, tableOf } from './dsbench/table-grader.ts';
import type { GradeAnswer, GradeFiles, Training } from './methods/training.ts';
import { gradeMath } from './task/grade-math.ts';
import { loadTasks } from './task/load-tasks.ts';
import type { Task } from './types/task.ts';

type TaskKeys = RunConfig['tasks'];

/** How tasks of one kind are read and graded. */
type TaskKind = {
  readonly load: (path: string, keys: TaskKeys) => Promise<readonly Task[]>;
  /** @throws BoundaryError("task") when a task given in code is not of this kind */
  readonly check?: (task: Task) => unknown;
  readonly gradeFiles?: (fair: RunConfig['fair']) => GradeFiles;
};

const kinds: Readonly<Record<TaskKeys['kind'], TaskKind>> = {
  math: { load: (path) => loadTasks(path) },
  dsbench: {
    load: (path, { tables }) => loadTableTasks(path, tables),
    check: tableOf,
    gradeFiles: ({ accuracy, f1, rmsePercent }) => createTableGrader({ accuracy, f1, rmsePercent }),
  },
};

const gradeAnswer: GradeAnswer = (task, { id, answer }) => {
  if (task.answer === undefined || answer === undefined) return undefined;
  return { trajectoryId: id, ...gradeMath(answer, task.answer) };
};

/** Tasks of the config's kind, from a file or as they are. */
export async function readTasks(
  keys: TaskKeys,
  source: string | readonly Task[],
): Promise<readonly Task[]> {
  const { load, check } = kinds[keys.kind];
  if (typeof source === 'string') return load(source, keys);
  for (const task of source) check?.(task);
  return source;
}

/** How the plays of a run are graded. */
export function gradersOf({ tasks, fair }: RunConfig): Pick<Training, 'grade' | 'gradeFiles'> {
  const gradeFiles = kinds[tasks.kind].gradeFiles?.(fair);
  return { grade: gradeAnswer, ...(gradeFiles === undefined ? {} : { gradeFiles }) };
}
