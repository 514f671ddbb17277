/**
 * Per-action credit against outcome-only credit at equal numbers of trajectories, on the quickstart's team:
 * `npm run bench:credit -- --seeds 5 --steps 40 --plays 48 --json`
 *
 * Both arms play the same tasks with the same seeds from the same base. Runs are kept in runs/bench-credit and are not
 * done again.
 */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTraining } from '../src/commands/run-training.ts';
import { resolveConfig } from '../src/config/load-config.ts';
import { openRun } from '../src/run/run-store.ts';
import { makeBaseModel } from '../teams/arithmetic/base-model.ts';
import quickstartRun from '../teams/arithmetic/teamtune.config.ts';
import { type Point, pointsOf, trajectoriesTo } from './support/curves.ts';
import { readCount, readFlags } from './support/read-flags.ts';
import { type Summary, summarize } from './support/summarize.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const arms = ['coach', 'outcome'] as const;
type Arm = (typeof arms)[number];

const values = readFlags('credit', {
  seeds: { type: 'string', default: '5', help: 'runs of each arm, with seeds 1, 2, …' },
  steps: { type: 'string', default: '40', help: 'training steps' },
  every: { type: 'string', default: '4', help: 'steps between evaluations' },
  plays: { type: 'string', default: '48', help: 'of one step' },
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});
const count = (name: 'seeds' | 'steps' | 'every' | 'plays') =>
  readCount('credit', { [name]: values[name] });
const plays = count('plays');

const curves: Record<Arm, Point[][]> = { coach: [], outcome: [] };
const model = await makeBaseModel(join(root, '.teamtune'), () => undefined);
for (let seed = 1; seed <= count('seeds'); seed++) {
  for (const arm of arms) curves[arm].push(await curveOf(arm, seed));
}
report();

async function curveOf(arm: Arm, seed: number): Promise<Point[]> {
  const steps = count('steps');
  const name = `${arm}-seed-${seed}-plays-${plays}-steps-${steps}`;
  const directory = join(root, 'runs', 'bench-credit', name);
  const overrides = [
    ...[`model.path=${model}`, `seed=${seed}`, `credit.source=${arm}`],
    ...[`training.steps=${steps}`, `evaluation.every=${count('every')}`],
    `rollout.tasksPerStep=${plays}`,
  ];
  const config = resolveConfig(quickstartRun, {
    directory: root,
    where: 'bench:credit',
    overrides,
  });
  const silent = () => undefined;
  const watch = { waiting: silent, step: silent, evaluated: silent, note: silent };
  process.stderr.write(`${name}\n`);
  if (!isFinished(directory)) {
    const resume = existsSync(join(directory, 'run.db'));
    await runTraining(config, { directory, resume, watch });
  }
  const run = openRun(directory, { mode: 'read' });
  try {
    return pointsOf(run, config.rollout.tasksPerStep * config.rollout.samplesPerTask, steps);
  } finally {
    run.close();
  }
}

function isFinished(directory: string): boolean {
  if (!existsSync(join(directory, 'run.db'))) return false;
  const run = openRun(directory, { mode: 'read' });
  try {
    return run.evaluations().some(({ name }) => name === 'trained');
  } finally {
    run.close();
  }
}

function report(): void {
  // One target for both arms, per seed: 80 % of what per-action credit gains in the end.
  const targets = curves.coach.map((curve) => {
    const [base, final] = [curve[0] as Point, curve.at(-1) as Point];
    return base.accuracy + 0.8 * (final.accuracy - base.accuracy);
  });
  const needed = (arm: Arm) =>
    curves[arm].map((curve, seed) => trajectoriesTo(targets[seed] as number, curve));
  const [coach, outcome] = [needed('coach'), needed('outcome')];
  const ratios = coach.flatMap((count, seed) => {
    const other = outcome[seed];
    return count && other ? [other / count] : [];
  });
  const result = {
    seeds: count('seeds'),
    curves: Object.fromEntries(arms.map((arm) => [arm, meanCurve(curves[arm])])),
    trajectoriesTo80Percent: { coach, outcome },
    ratio: ratios.length > 1 ? summarize(ratios) : undefined,
    ratioOfSeeds: ratios,
  };
  printTable(result.curves, coach, outcome);
  if (values.json) console.log(JSON.stringify(result));
}

function meanCurve(runs: readonly Point[][]): (Summary & { trajectories: number })[] {
  return (runs[0] ?? []).map(({ trajectories }, index) => ({
    trajectories,
    ...summarize(runs.map((curve) => (curve[index] as Point).accuracy)),
  }));
}

function printTable(
  mean: Record<string, (Summary & { trajectories: number })[]>,
  coach: readonly (number | undefined)[],
  outcome: readonly (number | undefined)[],
): void {
  const cell = ({ mean: middle, low, high }: Summary) =>
    `${(middle * 100).toFixed(1)} (${(low * 100).toFixed(1)} to ${(high * 100).toFixed(1)})`;
  console.log('| trajectories | per-action credit, % | outcome-only credit, % |\n|---|---|---|');
  mean.coach?.forEach((point, index) => {
    const other = mean.outcome?.[index];
    console.log(`| ${point.trajectories} | ${cell(point)} | ${other ? cell(other) : ''} |`);
  });
  const list = (counts: readonly (number | undefined)[]) =>
    counts.map((count) => (count === undefined ? 'not reached' : Math.round(count))).join(', ');
  console.log(
    `\ntrajectories to 80 % of the gain, by seed: per-action ${list(coach)}; outcome-only ${list(outcome)}`,
  );
}
