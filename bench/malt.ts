/**
 * MALT on chain arithmetic with a lazy verifier: `npm run bench:malt -- --seeds 5 --json`
 *
 * Per seed and base model: trees of 600 questions are grown once, then the three roles are trained. Arms: the generator
 * alone and the team as the base plays them; the team after SFT and after DPO as well (`malt`); the latter without the
 * anchor; and with its verifier or its refiner put back to the base. `@3` is the majority of three plays. All on 600
 * held-out questions, three plays each, at temperature 1. Runs are kept in runs/bench-malt and are not done again.
 */
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { latestCheckpoint } from '../src/checkpoint/checkpoint-directory.ts';
import { runTraining } from '../src/commands/run-training.ts';
import { malt } from '../src/config/method-schema.ts';
import type { RunInput } from '../src/config/schema.ts';
import { evaluateSets, summarizeEvaluation } from '../src/evaluate.ts';
import type { Run } from '../src/run/run-store.ts';
import { wireEvaluation } from '../src/wiring.ts';
import { type ChainBase, habits, makeChainBase } from '../teams/chain/base-model.ts';
import { chainTasks } from '../teams/chain/language.ts';
import { chainTeam } from '../teams/chain-team.ts';
import {
  benchConfig,
  isEvaluated,
  printArms,
  readArmOptions,
  readRun,
  runDirectory,
  unwatched,
} from './support/arms.ts';
import { root } from './support/places.ts';

type Figures = { readonly accuracy: number; readonly majority: number };
type Place = { readonly seed: number; readonly base: number; readonly model: string };
type Stage = { readonly name: string; readonly seconds: number; readonly tokens?: number };

const bases: readonly ChainBase[] = [{}, { architecture: 'llama', seed: 1 }];
const options = readArmOptions('malt', [
  ...['single', 'base', 'sft', 'malt', 'no-anchor', 'untrained-verifier', 'untrained-refiner'],
]);
const figures = new Map<string, Figures[]>();
const times: Stage[] = [];

for (let seed = 1; seed <= options.seeds; seed++) {
  for (const [base, choice] of bases.slice(0, options.bases).entries()) {
    const model = await makeChainBase(join(root, '.teamtune'), () => undefined, choice);
    await playSeed({ seed, base, model });
  }
}
report();

async function playSeed(place: Place): Promise<void> {
  await train(place);
  const whole = directoryOf('malt', place);
  note('single', await evaluated('single', place, { variant: 'single' }));
  for (const [name, evaluation] of [
    ...[['base', 'base'] as const, ['sft', 'step-1'] as const, ['malt', 'trained'] as const],
  ]) {
    note(name, figuresOf(whole, evaluation));
  }
  times.push(...readRun(whole, stagesOf));
  if (options.wants('no-anchor')) note('no-anchor', await withoutAnchor(place));
  const { directory: checkpoint = '' } = latestCheckpoint(whole) ?? {};
  for (const agent of ['verifier', 'refiner']) {
    const name = `untrained-${agent}`;
    if (options.wants(name)) note(name, await evaluated(name, place, { checkpoint, agent }));
  }
}

/** A run of MALT; as it was after SFT, it is kept for the arm that goes on otherwise. */
async function train(place: Place): Promise<void> {
  const directory = directoryOf('malt', place);
  if (isEvaluated(directory, 'trained')) return;
  const copy = directoryOf('no-anchor', place);
  const keepSupervised = (step: number) => {
    if (step !== 2 || existsSync(copy)) return;
    // The second step is not recorded yet: a run that is resumed from here does it again.
    cpSync(directory, copy, { recursive: true });
    for (const name of ['run.lock', 'run.db-shm']) rmSync(join(copy, name), { force: true });
  };
  const started = performance.now();
  await runTraining(benchConfig(inputOf(place)), {
    directory,
    resume: existsSync(join(directory, 'run.db')),
    watch: { ...unwatched, step: keepSupervised },
  });
  process.stderr.write(`${directory}: ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
}

async function withoutAnchor(place: Place): Promise<Figures> {
  const directory = directoryOf('no-anchor', place);
  if (!isEvaluated(directory, 'trained')) {
    // Its collapse is part of what the arm shows, and ends nothing here.
    const config = benchConfig(inputOf(place, { anchor: 0, collapseBelow: -1000 }));
    await runTraining(config, { directory, resume: true, watch: unwatched });
  }
  return figuresOf(directory, 'trained');
}

/** An evaluation alone: of a variant, or of a checkpoint with one agent as the base plays it. */
async function evaluated(
  name: string,
  place: Place,
  what: { readonly variant?: string; readonly checkpoint?: string; readonly agent?: string },
): Promise<Figures> {
  const directory = directoryOf(name, place);
  const { variant, checkpoint, agent } = what;
  if (!isEvaluated(directory, 'evaluation')) {
    const config = benchConfig({ ...inputOf(place), ...(variant && { variant }) });
    const wired = await wireEvaluation(config, {
      ...{ directory, watch: unwatched, resume: existsSync(join(directory, 'run.db')) },
      ...(checkpoint && { checkpoint }),
      ...(agent && { untrained: [agent] }),
    });
    try {
      await evaluateSets(wired.training, 'evaluation');
    } finally {
      await wired.close();
    }
  }
  return figuresOf(directory, 'evaluation');
}

function directoryOf(name: string, { seed, base }: Place): string {
  return runDirectory('bench-malt', `${name}-base-${base}-seed-${seed}`);
}

function inputOf(
  { seed, model }: Place,
  dpo: { readonly anchor?: number; readonly collapseBelow?: number } = {},
): RunInput {
  return {
    name: 'bench-malt',
    seed,
    team: chainTeam,
    model: { path: model, maxRows: 512, microBatchTokens: 16_384, threads: 1 },
    adapter: { rank: 32, alpha: 64 },
    tasks: {
      train: chainTasks({ count: 600, seed, split: 'train' }),
      heldOut: chainTasks({ count: 600, seed: 0, split: 'held-out' }),
    },
    method: malt({ sft: { learningRate: 1e-3 }, dpo: { learningRate: 5e-4, ...dpo } }),
    rollout: { concurrency: 1024 },
    update: { beta2: 0.999 },
    evaluation: { every: 1, samplesPerTask: 3 },
  };
}

function figuresOf(directory: string, name: string): Figures {
  return readRun(directory, (run) => {
    const rows = run.evaluations().find((evaluation) => evaluation.name === name)?.rows ?? [];
    const { accuracy, majority } = summarizeEvaluation(name, rows);
    return { accuracy: accuracy?.accuracy ?? Number.NaN, majority };
  });
}

/** What the stages of a run took, on the clock. */
function stagesOf(run: Run): Stage[] {
  const [first, second] = run.metrics().map(({ metrics }) => metrics);
  const seconds = (metrics: typeof first, name: string) => metrics?.[name] ?? Number.NaN;
  const play = seconds(first, 'play-seconds');
  return [
    { name: 'trees', seconds: play, tokens: seconds(first, 'sampled-tokens') },
    { name: 'sft', seconds: seconds(first, 'seconds') - play },
    { name: 'dpo', seconds: seconds(second, 'seconds') },
  ];
}

function note(name: string, found: Figures): void {
  figures.set(name, [...(figures.get(name) ?? []), found]);
}

function report(): void {
  for (const [name, stages] of Map.groupBy(times, (stage) => stage.name)) {
    const mean = (of: (stage: Stage) => number) =>
      stages.reduce((sum, stage) => sum + of(stage), 0) / stages.length;
    const tokens = mean((stage) => stage.tokens ?? Number.NaN);
    const sampled = Number.isNaN(tokens) ? '' : `, ${tokens.toFixed(0)} tokens`;
    console.log(`${name}: ${mean(({ seconds }) => seconds).toFixed(1)} s${sampled}`);
  }
  const { misconceptions, generatorSlip, approves, takes } = habits;
  const right = ((1 - misconceptions) * (1 - generatorSlip)) ** 3;
  const team = right + (1 - right) * (1 - approves) * takes;
  console.log(
    `predicted for the base: single about ${right.toFixed(2)}, team ${team.toFixed(2)}\n`,
  );
  const accuracies = [...figures].map(
    ([name, own]) => [name, own.map(({ accuracy }) => accuracy)] as const,
  );
  const votes = [...figures].map(
    ([name, own]) => [`${name}@3`, own.map(({ majority }) => majority)] as const,
  );
  printArms(new Map([...accuracies, ...votes]), options.json);
}
