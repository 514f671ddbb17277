import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export type Checkpoint = {
  readonly step: number;
  readonly name: string;
  readonly directory: string;
};

/** A whole checkpoint is named `step-` and at least six digits; everything else in the folder is unfinished. */
const finishedName = /^step-(\d{6,})$/;
const unfinishedName = /^step-\d{6,}\.tmp-/;

export function checkpointName(step: number): string {
  return `step-${String(step).padStart(6, '0')}`;
}

export function checkpointsDirectory(runDirectory: string): string {
  return join(runDirectory, 'checkpoints');
}

/** Whole checkpoints of a run, oldest first. */
export function listCheckpoints(runDirectory: string): Checkpoint[] {
  return entriesOf(runDirectory)
    .flatMap((name) => {
      const step = finishedName.exec(name)?.[1];
      const directory = join(checkpointsDirectory(runDirectory), name);
      return step === undefined ? [] : [{ step: Number(step), name, directory }];
    })
    .sort((a, b) => a.step - b.step);
}

/**
 * The newest whole checkpoint.
 *
 * @param options.upTo the last completed step of the run store: a checkpoint of a later step was saved by a process
 *   that was killed before it could record the step, and must not be resumed from
 */
export function latestCheckpoint(
  runDirectory: string,
  options: { readonly upTo?: number } = {},
): Checkpoint | undefined {
  const last = options.upTo ?? Number.POSITIVE_INFINITY;
  return listCheckpoints(runDirectory)
    .filter(({ step }) => step <= last)
    .at(-1);
}

/** Removes what killed processes left unfinished. Call it on resume, while holding the run's lock. */
export function removeUnfinishedCheckpoints(runDirectory: string): void {
  for (const name of entriesOf(runDirectory).filter((entry) => unfinishedName.test(entry))) {
    rmSync(join(checkpointsDirectory(runDirectory), name), { recursive: true, force: true });
  }
}

/** Removes all but the newest checkpoints. */
export function pruneCheckpoints(runDirectory: string, keep: number): void {
  for (const { directory } of listCheckpoints(runDirectory).slice(0, -keep)) {
    removeWhole(directory);
  }
}

/** Takes the name away first, so that a half removed folder is never taken for a checkpoint. */
export function removeWhole(directory: string): void {
  const aside = temporaryFor(directory);
  renameSync(directory, aside);
  rmSync(aside, { recursive: true, force: true });
}

/** A name beside `directory` that no reader takes for a checkpoint and no other call uses. */
export function temporaryFor(directory: string): string {
  for (let attempt = 0; ; attempt++) {
    const name = `${basename(directory)}.tmp-${process.pid}-${attempt}`;
    const path = join(dirname(directory), name);
    if (!existsSync(path)) return path;
  }
}

function entriesOf(runDirectory: string): string[] {
  const directory = checkpointsDirectory(runDirectory);
  return existsSync(directory) ? readdirSync(directory) : [];
}
