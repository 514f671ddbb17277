/**
 * MAPoRL on the split-knowledge debate: `npm run bench:maporl -- --seeds 5 --json`
 *
 * Per seed and base model: the untrained team; A trained against a frozen B; A and B each trained so and then paired;
 * both trained together; and, with the published turn discount of 0.3, together without incentives, with b0 = b1 = 0.25,
 * with either of them alone, and with those of inverted sign. Further: together with a critic (`co-critic`), with models of
 * two architectures (`hetero`), rewarded by a verifier that learned from the rollouts of `co-trained` in place of labels
 * (`learned-verifier`), by one that learned from what the team did that this one rewarded, too, and so on for two rounds
 * (`learned-verifier-2`, `learned-verifier-3`), three agents in three turns on a task of three parts (`three`), and A paid
 * for its right answers against B who is paid for A's wrong ones (`zero-sum`).
 *
 * The figure is the accuracy of all agents' last answers on held-out questions, which is the expected majority vote; of
 * `zero-sum` that of A's. Runs are kept in runs/bench-maporl and are not done again.
 */
import { existsSync, readFileSync } from 'node:fs';
import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { latestCheckpoint } from '../src/checkpoint/checkpoint-directory.ts';
import { saveCheckpoint } from '../src/checkpoint/save-checkpoint.ts';
import { verifierFile } from '../src/coach/trained-verifier.ts';
import { type MadeVerifier, makeVerifier } from '../src/commands/train-verifier.ts';
import type { RunInput } from '../src/config/schema.ts';
import { evaluateSets } from '../src/evaluate.ts';
import { discussionStatistics } from '../src/run/discussion-statistics.ts';
import type { Run } from '../src/run/run-store.ts';
import { wireEvaluation } from '../src/wiring.ts';
import { type BaseChoice, makeBaseModel } from '../teams/split-knowledge/base-model.ts';
import { splitQuestions, taskOf } from '../teams/split-knowledge/language.ts';
import { splitKnowledgeTeam, zeroSumPayoffs } from '../teams/split-knowledge-team.ts';
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
import { makeThreePartsBase, splitThreeParts, threePartsTeam } from './support/three-parts.ts';

/** Of every arm. */
const steps = 40;
const bases: readonly BaseChoice[] = [{}, { architecture: 'llama', seed: 1 }];
const held = { a0: 0, a1: 0, b0: 0.25, b1: 0.25 };
/** Of the verifier that stands in for labels. */
const verifierOptions = { loss: 'bce', steps: 150, learningRate: 2e-3 } as const;

/** Arm that a verifier rewards → the arms whose answers that verifier learned from. */
const learnedFrom = {
  'learned-verifier': ['co-trained'],
  'learned-verifier-2': ['co-trained', 'learned-verifier'],
  'learned-verifier-3': ['co-trained', 'learned-verifier', 'learned-verifier-2'],
} as const;

type MethodOptions = Extract<RunInput['method'], { kind: 'maporl' }>;
type Arm = {
  readonly frozen?: readonly string[];
  readonly method: Partial<MethodOptions>;
  /** What else of the config is another one than that of both agents on one base. */
  readonly changes?: (place: Place) => Promise<Partial<RunInput>>;
  /** The agent whose last answers are the figure; absent = all. */
  readonly figureOf?: string;
};

/** `b-only` is the other half of `paired`. */
const arms = {
  'a-only': { frozen: ['B'], method: { turnDiscount: 1 } },
  'b-only': { frozen: ['A'], method: { turnDiscount: 1 } },
  'co-trained': { method: { turnDiscount: 1 } },
  'g03-b0': { method: { turnDiscount: 0.3 } },
  'g03-b25': { method: { turnDiscount: 0.3, incentives: held } },
  'g03-inverted': {
    method: { turnDiscount: 0.3, incentives: held, influenceSign: 'inverted' },
  },
  'co-critic': { method: { turnDiscount: 1, critic: {} } },
  'b0-only': { method: { turnDiscount: 0.3, incentives: { b0: 0.25 } } },
  'b1-only': { method: { turnDiscount: 0.3, incentives: { b1: 0.25 } } },
  hetero: { method: { turnDiscount: 1 }, changes: withOtherModel },
  'learned-verifier': judged('learned-verifier'),
  'learned-verifier-2': judged('learned-verifier-2'),
  'learned-verifier-3': judged('learned-verifier-3'),
  three: { method: { turnDiscount: 1 }, changes: withThreeParts },
  'zero-sum': {
    method: { turnDiscount: 1, payoffs: zeroSumPayoffs },
    figureOf: 'A',
  },
} satisfies Record<string, Arm>;

type ArmName = keyof typeof arms;

/** Arms that others are made of: they are run where those are asked for. */
const needs: Readonly<Record<string, readonly ArmName[]>> = {
  base: ['a-only'],
  paired: ['a-only', 'b-only'],
  ...learnedFrom,
};

/** What an evaluation came to. */
type Figures = {
  readonly final: number;
  readonly first: number;
  readonly wrongToRight: number;
  readonly sharesA: number;
  readonly sharesB: number;
};

const options = readArmOptions('maporl', [...Object.keys(arms), 'base', 'paired']);
const { train, heldOut } = splitQuestions();
const cache = join(root, '.teamtune');
const results = new Map<string, Figures[]>();
/** What was found of each trained verifier. */
const verifiers: MadeVerifier[] = [];
for (let seed = 1; seed <= options.seeds; seed++) {
  for (const [base, choice] of bases.slice(0, options.bases).entries()) {
    const model = await makeBaseModel(cache, () => undefined, choice);
    await playSeed({ seed, base, model });
  }
}
report();

type Place = { readonly seed: number; readonly base: number; readonly model: string };

async function playSeed(place: Place): Promise<void> {
  for (const [name, arm] of Object.entries(arms) as [ArmName, Arm][]) {
    if (!isRun(name)) continue;
    const input = { ...inputOf(name, arm, place), ...(await arm.changes?.(place)) };
    const figures = await trained(directoryOf(name, place), input, (run) => ({
      base: figuresOf(run, 'eval:base', arm),
      trained: figuresOf(run, 'eval:trained', arm),
    }));
    if (name === 'a-only') note('base', figures.base);
    if (name === 'three' || name === 'hetero') note(`${name}-base`, figures.base);
    note(name, figures.trained);
  }
  if (options.wants('paired')) note('paired', await paired(place));
}

function isRun(name: ArmName): boolean {
  const users = Object.entries(needs).filter(([, needed]) => needed.includes(name));
  return options.wants(name) || users.some(([user]) => options.wants(user));
}

/** B plays the other base. */
async function withOtherModel({ base, model }: Place): Promise<Partial<RunInput>> {
  const B = await makeBaseModel(cache, () => undefined, bases[1 - base]);
  return { model: { path: model, agents: { B }, maxRows: 512, threads: 1 } };
}

async function withThreeParts({ base }: Place): Promise<Partial<RunInput>> {
  const path = await makeThreePartsBase(cache, bases[base] ?? {});
  const model = { path, maxRows: 768, threads: 1 };
  return { team: threePartsTeam, model, tasks: splitThreeParts() };
}

function judged(name: keyof typeof learnedFrom): Arm {
  return {
    method: { turnDiscount: 1, verifier: 'coach' },
    changes: (place) => withVerifier(learnedFrom[name], place),
  };
}

/** A verifier is trained once for each seed and base. */
async function withVerifier(from: readonly string[], place: Place): Promise<Partial<RunInput>> {
  const directory = directoryOf(`verifier-${from.length}`, place);
  if (!existsSync(directory)) {
    const aside = `${directory}.tmp`;
    await rm(aside, { recursive: true, force: true });
    const overrides = [`model.path=${place.model}`, 'model.threads=1'];
    const options = { ...verifierOptions, overrides, onStep: () => undefined };
    const runs = from.map((arm) => directoryOf(arm, place));
    await makeVerifier(runs, aside, options);
    await rename(aside, directory);
  }
  const { model: _, ...found } = JSON.parse(readFileSync(join(directory, verifierFile), 'utf8'));
  verifiers.push(found);
  return { coach: `verifier/${directory}` };
}

function note(name: string, figures: Figures): void {
  results.set(name, [...(results.get(name) ?? []), figures]);
}

function directoryOf(name: string, { seed, base }: Place): string {
  return runDirectory('bench-maporl', `${name}-base-${base}-seed-${seed}`);
}

function inputOf(name: string, { frozen, method }: Arm, { seed, model }: Place): RunInput {
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
      ...{ directory, step: steps, keep: 2 },
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
  return readRun(directory, (run) => figuresOf(run, 'eval:evaluation', arms['co-trained']));
}

function figuresOf(run: Run, scope: string, { figureOf }: Arm): Figures {
  const { turns, transitions } = discussionStatistics(run.discussions.answersOf(scope));
  const toRight = sum(transitions.map(({ wrongToRight }) => wrongToRight));
  const all = sum(transitions.flatMap((counts) => Object.values(counts)));
  const shares = (agent: string) => {
    const own = run.actionsOf(scope).filter((action) => action.agent === agent);
    const first = own.filter(({ observationText }) => observationText.endsWith('?'));
    return first.filter(({ text }) => text.startsWith('S')).length / first.length;
  };
  const last = turns.at(-1);
  const final = figureOf === undefined ? last?.accuracy : last?.accuracyOf[figureOf];
  return {
    first: turns[0]?.accuracy.share ?? Number.NaN,
    final: final?.share ?? Number.NaN,
    wrongToRight: toRight / all,
    ...{ sharesA: shares('A'), sharesB: shares('B') },
  };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
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
  console.log(`predicted for the base: final ${predicted.toFixed(3)}, both share 0.400`);
  // Of three: both others' parts are used (0.6 each) in the last turn, or the sum is right by chance.
  if (results.has('three-base')) {
    console.log(`predicted for the base of three: final ${(0.36 + 0.64 * 0.2).toFixed(3)}`);
  }
  for (const { answers, right, accuracy, balancedAccuracy, calibrationError } of verifiers) {
    const numbers = [right, accuracy, balancedAccuracy ?? Number.NaN, calibrationError];
    const [share, hit, balanced, error] = numbers.map((number) => number.toFixed(3));
    console.log(
      `a trained verifier, on ${answers} unseen answers, ${share} of them right: accuracy ${hit}, balanced ${balanced}, calibration error ${error}`,
    );
  }
  console.log('');
  const finals = [...results].map(([name, own]) => [name, own.map(({ final }) => final)] as const);
  printArms(new Map(finals), options.json, { verifiers });
}
