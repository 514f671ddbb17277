/**
 * MAPoRL on the split-knowledge debate: `npm run bench:maporl -- --seeds 5 --json`
 *
 * Per seed and base model: the untrained team; A trained against a frozen B; A and B each trained so and then paired;
 * both trained together; and, with the published turn discount of 0.3, together without incentives, with b0 = b1 = 0.25,
 * and with those of inverted sign. The figure is the accuracy of both agents' last answers on held-out questions, which is
 * the expected majority vote. Runs are kept in runs/bench-maporl and are not done again.
 */
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { latestCheckpoint } from '../src/checkpoint/checkpoint-directory.ts';
import { saveCheckpoint } from '../src/checkpoint/save-checkpoint.ts';
import type { RunInput } from '../src/config/schema.ts';
import { evaluateSets } from '../src/evaluate.ts';
import { discussionStatistics } from '../src/run/discussion-statistics.ts';
import type { Run } from '../src/run/run-store.ts';
import { wireEvaluation } from '../src/wiring.ts';
import { type BaseChoice, makeBaseModel } from '../teams/split-knowledge/base-model.ts';
import { splitQuestions, taskOf } from '../teams/split-knowledge/language.ts';
import { splitKnowledgeTeam } from '../teams/split-knowledge-team.ts';
import {
  benchConfig,
  isEvaluated,
  printArms,
  readArmOptions,
  readRun,
  runDirectory,
  trained,
  unwatched,
} from './support/arms.ts';
import { root } from './support/places.ts';

/** Of agents trained together, and of one agent alone, whose reasons to stop sharing are weak and take longer. */
const [together, alone] = [40, 75];
const bases: readonly BaseChoice[] = [{}, { architecture: 'llama', seed: 1 }];
const held = { a0: 0, a1: 0, b0: 0.25, b1: 0.25 };

type MethodOptions = Extract<RunInput['method'], { kind: 'maporl' }>;
type Arm = {
  readonly steps: number;
  readonly frozen?: readonly string[];
  readonly method: Partial<MethodOptions>;
};

/** `b-only` is the other half of `paired`. */
const arms = {
  'a-only': { steps: alone, frozen: ['B'], method: { turnDiscount: 1 } },
  'b-only': { steps: alone, frozen: ['A'], method: { turnDiscount: 1 } },
  'co-trained': { steps: together, method: { turnDiscount: 1 } },
  'g03-b0': { steps: together, method: { turnDiscount: 0.3 } },
  'g03-b25': { steps: together, method: { turnDiscount: 0.3, incentives: held } },
  'g03-inverted': {
    steps: together,
    method: { turnDiscount: 0.3, incentives: held, influenceSign: 'inverted' },
  },
  'co-critic': { steps: together, method: { turnDiscount: 1, critic: {} } },
} satisfies Record<string, Arm>;

type ArmName = keyof typeof arms;

/** What an evaluation came to. */
type Figures = {
  readonly final: number;
  readonly first: number;
  readonly wrongToRight: number;
  readonly sharesA: number;
  readonly sharesB: number;
};

const options = readArmOptions();
const { train, heldOut } = splitQuestions();
const results = new Map<string, Figures[]>();
for (let seed = 1; seed <= options.seeds; seed++) {
  for (const [base, choice] of bases.slice(0, options.bases).entries()) {
    const model = await makeBaseModel(join(root, '.teamtune'), () => undefined, choice);
    await playSeed({ seed, base, model });
  }
}
report();

type Place = { readonly seed: number; readonly base: number; readonly model: string };

async function playSeed(place: Place): Promise<void> {
  for (const [name, arm] of Object.entries(arms) as [ArmName, Arm][]) {
    const isHalf = name === 'a-only' || name === 'b-only';
    if (!options.wants(name) && !(isHalf && options.wants('paired'))) continue;
    const figures = await trained(directoryOf(name, place), inputOf(name, arm, place), (run) => ({
      base: figuresOf(run, 'eval:base'),
      trained: figuresOf(run, 'eval:trained'),
    }));
    if (name === 'a-only') note('base', figures.base);
    note(name, figures.trained);
  }
  if (options.wants('paired')) note('paired', await paired(place));
}

function note(name: string, figures: Figures): void {
  results.set(name, [...(results.get(name) ?? []), figures]);
}

function directoryOf(name: string, { seed, base }: Place): string {
  return runDirectory('bench-maporl', `${name}-base-${base}-seed-${seed}`);
}

function inputOf(name: string, { steps, frozen, method }: Arm, { seed, model }: Place): RunInput {
  return {
    name: `bench-maporl-${name}`,
    seed,
    team: splitKnowledgeTeam,
    model: { path: model, maxRows: 512, threads: 1 },
    adapter: { rank: 16, alpha: 32 },
    tasks: { train: train.map(taskOf), heldOut: heldOut.map(taskOf) },
    method: { kind: 'maporl', verifier: 'grade', critic: false, ...method },
    rollout: { tasksPerStep: 192, samplesPerTask: 1, concurrency: 512 },
    credit: { klCoefficient: 0.005 },
    update: { learningRate: 2e-3 },
    training: { steps, ...(frozen && { frozen: [...frozen] }) },
    evaluation: { samplesPerTask: 2 },
  };
}

/** A as it was trained against the base's B, and B as it was trained against the base's A, play together. */
async function paired(place: Place): Promise<Figures> {
  const directory = directoryOf('paired', place);
  if (!isEvaluated(directory, 'evaluation')) {
    const { directory: checkpoint } = await saveCheckpoint({
      ...{ directory, step: alone, keep: 2 },
      write: async (folder) => {
        for (const [agent, arm] of [['A', 'a-only'] as const, ['B', 'b-only'] as const]) {
          const { directory: from = '' } = latestCheckpoint(directoryOf(arm, place)) ?? {};
          await cp(join(from, agent), join(folder, agent), { recursive: true });
        }
      },
    });
    const config = benchConfig(inputOf('paired', arms['co-trained'], place));
    const wired = await wireEvaluation(config, {
      ...{ directory, checkpoint, resume: false, watch: unwatched },
    });
    try {
      await evaluateSets(wired.training, 'evaluation');
    } finally {
      await wired.close();
    }
  }
  return readRun(directory, (run) => figuresOf(run, 'eval:evaluation'));
}

function figuresOf(run: Run, scope: string): Figures {
  const { turns, transitions } = discussionStatistics(run.discussions.answersOf(scope));
  const { wrongToRight = 0, ...others } = transitions[0] ?? {};
  const all = Object.values(others).reduce((sum, count) => sum + count, wrongToRight);
  const shares = (agent: string) => {
    const own = run.actionsOf(scope).filter((action) => action.agent === agent);
    const first = own.filter(({ observationText }) => observationText.endsWith('?'));
    return first.filter(({ text }) => text.startsWith('S')).length / first.length;
  };
  return {
    first: turns[0]?.accuracy.share ?? Number.NaN,
    final: turns[1]?.accuracy.share ?? Number.NaN,
    wrongToRight: wrongToRight / all,
    ...{ sharesA: shares('A'), sharesB: shares('B') },
  };
}

function report(): void {
  const mean = (figures: readonly Figures[], of: keyof Figures) =>
    (figures.reduce((sum, one) => sum + one[of], 0) / figures.length).toFixed(3);
  console.log('| arm | final | first turn | wrong→right | A shares | B shares | runs |');
  console.log('|---|---|---|---|---|---|---|');
  for (const [name, figures] of results) {
    const columns = ['final', 'first', 'wrongToRight', 'sharesA', 'sharesB'] as const;
    const cells = columns.map((column) => mean(figures, column));
    console.log(`| ${name} | ${cells.join(' | ')} | ${figures.length} |`);
  }
  const predicted = 0.4 * 0.52 + 0.6 * 0.2;
  console.log(`predicted for the base: final ${predicted.toFixed(3)}, both share 0.400\n`);
  const finals = [...results].map(([name, own]) => [name, own.map(({ final }) => final)] as const);
  printArms(new Map(finals), options.json);
}
