/** The engine's side of bench:stages: a whole run of MALT, or some updates of MAPoRL, with the clock read where a stage ends. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTraining } from '../../src/commands/run-training.ts';
import { malt } from '../../src/config/method-schema.ts';
import type { RunInput } from '../../src/config/schema.ts';
import type { Watch } from '../../src/methods/training.ts';
import type { Metrics } from '../../src/types/metrics.ts';
import { makeChainBase } from '../../teams/chain/base-model.ts';
import { chainTasks } from '../../teams/chain/language.ts';
import { chainTeam } from '../../teams/chain-team.ts';
import { makeBaseModel } from '../../teams/split-knowledge/base-model.ts';
import { splitQuestions, taskOf } from '../../teams/split-knowledge/language.ts';
import { splitKnowledgeTeam } from '../../teams/split-knowledge-team.ts';
import { benchConfig, unwatched } from '../support/arms.ts';
import { root } from '../support/places.ts';
import { readWork, serveRuns } from './serve-runs.ts';

type Work =
  | { readonly case: 'malt'; readonly questions: number }
  | { readonly case: 'maporl'; readonly updates: number; readonly games: number };

type Facts = Readonly<Record<string, number>>;

/** Seconds and processor time from one mark to the next. */
function stageClock() {
  let [wall, cpu] = [performance.now(), process.cpuUsage()];
  return {
    /** Since the last mark, under the stage's name. */
    mark: (stage: string, count: number): Facts => {
      const { user, system } = process.cpuUsage(cpu);
      const seconds = (performance.now() - wall) / 1000;
      [wall, cpu] = [performance.now(), process.cpuUsage()];
      return {
        [`${stage}.seconds`]: seconds,
        [`${stage}.cpuSeconds`]: (user + system) / 1e6,
        [`${stage}.count`]: count,
      };
    },
  };
}

/** Trains in a folder that does not stay. */
async function trainOnce(input: RunInput, watch: Partial<Watch>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'teamtune-stages-'));
  try {
    await runTraining(benchConfig(input), {
      ...{ directory, resume: false, watch: { ...unwatched, ...watch } },
    });
  } finally {
    await rm(directory, { recursive: true });
  }
}

function sumOf(metrics: Metrics, prefix: string): number {
  const own = Object.entries(metrics).filter(([name]) => name.startsWith(prefix));
  return own.reduce((sum, [, value]) => sum + value, 0);
}

async function runMalt(questions: number): Promise<Facts> {
  const clock = stageClock();
  let facts: Facts = {};
  let sampled: Facts = {};
  await trainOnce(
    {
      name: 'bench-stages',
      team: chainTeam,
      model: {
        path: await makeChainBase(join(root, '.teamtune'), () => undefined),
        ...{ maxRows: 512, microBatchTokens: 16_384, threads: 1 },
      },
      adapter: { rank: 32, alpha: 64 },
      tasks: {
        train: chainTasks({ count: questions, seed: 1, split: 'train' }),
        // Its evaluation says when the run has loaded.
        heldOut: chainTasks({ count: 1, seed: 1, split: 'held-out' }),
      },
      method: malt({ sft: { learningRate: 1e-3 }, dpo: { learningRate: 5e-4 } }),
      rollout: { concurrency: 1024 },
      update: { beta2: 0.999 },
    },
    {
      evaluated: (name) => {
        if (name === 'base') clock.mark('load', 0);
      },
      waiting: (what) => {
        if (!what.startsWith('examples') || 'trees.seconds' in sampled) return;
        sampled = clock.mark('trees', 0);
      },
      step: (step, metrics) => {
        facts =
          step === 1
            ? {
                ...sampled,
                'trees.count': metrics['sampled-tokens'] ?? Number.NaN,
                ...clock.mark('sft', sumOf(metrics, 'examples/')),
                pairs: sumOf(metrics, 'pairs/') - sumOf(metrics, 'pairs/generator'),
              }
            : { ...facts, ...clock.mark('dpo', facts.pairs ?? Number.NaN) };
      },
    },
  );
  return facts;
}

async function runMaporl(updates: number, games: number): Promise<Facts> {
  const clock = stageClock();
  let facts: Facts = {};
  let tokens = 0;
  await trainOnce(
    {
      name: 'bench-stages',
      team: splitKnowledgeTeam,
      model: {
        path: await makeBaseModel(join(root, '.teamtune'), () => undefined),
        ...{ maxRows: 512, threads: 1 },
      },
      adapter: { rank: 16, alpha: 32 },
      tasks: { train: splitQuestions().train.map(taskOf) },
      method: {
        ...{ kind: 'maporl', verifier: 'grade', critic: false, turnDiscount: 0.3 },
        incentives: { a0: 0, a1: 0, b0: 0.25, b1: 0.25 },
      },
      rollout: { tasksPerStep: games, samplesPerTask: 1, concurrency: 512 },
      credit: { klCoefficient: 0.005 },
      update: { learningRate: 2e-3 },
      training: { steps: updates + 1 },
    },
    {
      // The first update bears what is made only once.
      step: (step, metrics) => {
        if (step === 1) clock.mark('load', 0);
        else tokens += metrics['sampled-tokens'] ?? Number.NaN;
        if (step === updates + 1) facts = clock.mark('updates', tokens);
      },
    },
  );
  return facts;
}

const work = readWork<Work>();
await serveRuns({}, () =>
  work.case === 'malt' ? runMalt(work.questions) : runMaporl(work.updates, work.games),
);
