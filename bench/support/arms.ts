import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runTraining } from '../../src/commands/run-training.ts';
import { resolveConfig } from '../../src/config/load-config.ts';
import type { RunConfig, RunInput } from '../../src/config/schema.ts';
import { openRun, type Run } from '../../src/run/run-store.ts';
import { root } from './places.ts';
import { readChoice, readCount, readFlags } from './read-flags.ts';
import { summarize } from './summarize.ts';

const silent = () => undefined;

/** Nobody watches the runs of a bench. */
export const unwatched = { waiting: silent, step: silent, evaluated: silent, note: silent };

export type ArmOptions = {
  readonly seeds: number;
  /** How many base models; the seeds are played on each. */
  readonly bases: number;
  readonly json: boolean;
  /** Whether an arm is among those asked for. */
  readonly wants: (arm: string) => boolean;
};

/**
 * The options of a bench of arms; what nobody knows ends it with a sentence, and `--help` with the usage.
 *
 * @param bench as in `npm run bench:NAME`
 * @param arms that `--only` may name
 */
export function readArmOptions(bench: string, arms: readonly string[]): ArmOptions {
  const { seeds, bases, only, json } = readFlags(bench, {
    seeds: { type: 'string', default: '5', help: 'runs of each arm and base, with seeds 1, 2, …' },
    bases: { type: 'string', default: '2', help: 'base models, 1 or 2' },
    only: { type: 'string', help: `arms, with commas between: ${arms.join(', ')}` },
    json: { type: 'boolean', default: false, help: 'one JSON object last' },
  });
  return {
    seeds: readCount(bench, { seeds }),
    bases: readCount(bench, { bases }, 2),
    json: json === true,
    wants: readChoice(bench, only, arms),
  };
}

/** A config of a bench, as a config file would give it. */
export function benchConfig(input: RunInput): RunConfig {
  return resolveConfig(input, { directory: root, where: input.name });
}

/** Where a bench keeps the run of this name; a finished one is not done again, one that was interrupted goes on. */
export function runDirectory(bench: string, name: string): string {
  return join(root, 'runs', bench, name);
}

/** Trains once and reads what came of it. */
export async function trained<Result>(
  directory: string,
  input: RunInput,
  read: (run: Run) => Result,
): Promise<Result> {
  const started = performance.now();
  if (!isEvaluated(directory, 'trained')) {
    const resume = existsSync(join(directory, 'run.db'));
    await runTraining(benchConfig(input), { directory, resume, watch: unwatched });
    process.stderr.write(`${directory}: ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  }
  refuseOtherBase(directory, input);
  return readRun(directory, read);
}

/** @throws Error where the run kept there is of another base: its task or its recipe was another one */
function refuseOtherBase(directory: string, input: RunInput): void {
  const wanted = benchConfig(input).model.path;
  const { model } = readRun(directory, ({ resolvedConfig }) => resolvedConfig) as RunConfig;
  if (model.path === wanted) return;
  throw new Error(
    `${directory} holds a run of the base ${model.path}, expected one of ${wanted}: move the folder away to do it anew`,
  );
}

/** Whether a run's evaluation of this name is complete. */
export function isEvaluated(directory: string, evaluation: string): boolean {
  if (!existsSync(join(directory, 'run.db'))) return false;
  return readRun(directory, (run) => run.evaluations().some(({ name }) => name === evaluation));
}

export function readRun<Result>(directory: string, read: (run: Run) => Result): Result {
  const run = openRun(directory, { mode: 'read' });
  try {
    return read(run);
  } finally {
    run.close();
  }
}

/**
 * Prints a table of the arms and, last, one JSON object: `{"arms": {NAME: {mean, interval, seeds}}}`.
 *
 * @param more.unreached arm → how many of its numbers are lower bounds, since the run ended before; said where there are any
 * @param more.verifiers what trained verifiers were worth; in the JSON where there are any
 */
export function printArms(
  arms: ReadonlyMap<string, readonly number[]>,
  json: boolean,
  more: {
    readonly unreached?: ReadonlyMap<string, number>;
    readonly verifiers?: readonly object[];
  } = {},
): void {
  const { unreached = new Map(), verifiers = [] } = more;
  const summaries = [...arms].map(([name, seeds]) => {
    const { mean, low, high } = summarize(seeds);
    // One run says nothing of how runs differ.
    const bounds = unreached.get(name) ?? 0;
    const summary = { mean, interval: seeds.length < 2 ? null : [low, high], seeds };
    return [name, { ...summary, ...(bounds > 0 && { unreached: bounds }) }] as const;
  });
  for (const [name, { mean, interval, seeds, unreached: bounds = 0 }] of summaries) {
    const numbers = [mean, ...(interval ?? [])].map((number) => number.toPrecision(3));
    const between = interval === null ? 'no interval' : `${numbers[1]} to ${numbers[2]}`;
    console.log(
      `${name.padEnd(14)} ${numbers[0]} (${between}), ${seeds.length} runs${bounds > 0 ? `, ${bounds} of them at least that` : ''}`,
    );
  }
  if (!json) return;
  const found = verifiers.length === 0 ? {} : { verifiers };
  console.log(JSON.stringify({ arms: Object.fromEntries(summaries), ...found }));
}
