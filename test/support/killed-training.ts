import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { openRun } from '../../src/run/run-store.ts';
import { runCli, startCli } from './run-cli.ts';

/** What a run came to, without what depends on the clock or on the folder. */
export function factsOf(directory: string) {
  const run = openRun(directory, { mode: 'read' });
  const clock = /seconds|replayed|live-tensors|mebibytes/;
  const metrics = run.metrics().map(({ step, metrics: values }) => ({
    step,
    values: Object.entries(values).filter(([name]) => !clock.test(name)),
  }));
  const evaluations = run.evaluations();
  const actions = metrics.flatMap(({ step }) =>
    run.actionsOf(step).map(({ id, text, logprobs }) => ({ id, text, logprobs: [...logprobs] })),
  );
  const answers = run.discussions.scopes().map((scope) => run.discussions.answersOf(scope));
  run.close();
  return { metrics, evaluations, actions, answers };
}

/** Rows of a run that another process writes; throws while it has no such table. */
export function countRows(directory: string, table: string, where: string): number {
  const database = new DatabaseSync(join(directory, 'run.db'), { readOnly: true });
  try {
    const row = database.prepare(`SELECT count(*) AS rows FROM ${table} WHERE ${where}`).get();
    return Number(row?.rows);
  } finally {
    database.close();
  }
}

/** False, too, while there is no file, folder or table to look at. */
function isTrue(condition: () => boolean): boolean {
  try {
    return condition();
  } catch {
    return false;
  }
}

/** Runs the CLI until it has come so far, and sends it the signal. @returns how it ended, by itself where it did so before */
export async function endWhen(
  args: readonly string[],
  hasCome: () => boolean,
  signal: NodeJS.Signals,
) {
  const { child, ended } = startCli(args);
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  while (!hasEnded && !isTrue(hasCome)) await sleep(1);
  child.kill(signal);
  return ended;
}

/**
 * Kills the CLI once at each moment, resuming it in between, and at last lets it end.
 *
 * @param moments how far it must have come for each kill
 * @returns how it ended
 * @throws Error when it ended before it was killed
 */
export async function killAtEach(args: readonly string[], moments: readonly (() => boolean)[]) {
  for (const [kill, hasCome] of moments.entries()) {
    const again = kill === 0 ? args : [...args, '--resume'];
    const { signal, stderr } = await endWhen(again, hasCome, 'SIGKILL');
    if (signal !== 'SIGKILL') throw new Error(`kill ${kill} came too late: ${stderr}`);
  }
  return runCli([...args, '--resume']);
}
