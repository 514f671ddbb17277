/**
 * What a coach per action is worth: `npm run bench:mappa -- --seeds 5 --json`
 *
 * Per seed and base model the "translate, compute, label" team is trained by MAPPA with the final outcome as every agent's
 * reward, with an exact coach, with one whose scores are turned round one time in five, and with one that always gives the
 * executor 8 points. The figure is how many games it takes to a held-out accuracy of 0.55; a run that never gets there
 * counts with all its games and is said to. Runs are kept in runs/bench-mappa and are not done again.
 */
import { join } from 'node:path';
import { createRuleCoach, type RuleCoachOptions } from '../src/coach/rule-coach.ts';
import type { RunInput } from '../src/config/schema.ts';
import { auditOf } from '../src/run/audit.ts';
import type { Run } from '../src/run/run-store.ts';
import { printArms, readArmOptions, runDirectory, trained } from './support/arms.ts';
import { type Point, pointsOf, trajectoriesTo } from './support/curves.ts';
import { root } from './support/places.ts';
import { summarize } from './support/summarize.ts';
import {
  judgeTranslation,
  makeTranslateBase,
  predictedRight,
  splitTranslations,
  type TranslateBaseChoice,
  translateTeam,
} from './support/translate.ts';

const target = 0.55;
const gamesPerStep = 48;
const evaluateEvery = 5;
const heldOutTasks = 400;
const bases: readonly TranslateBaseChoice[] = [{}, { architecture: 'llama', heads: 6, seed: 1 }];

type Arm = {
  readonly source: 'coach' | 'outcome';
  readonly steps: number;
  readonly coach?: Pick<RuleCoachOptions, 'flipProbability' | 'fixedScores'>;
};

const arms: Readonly<Record<string, Arm>> = {
  outcome: { source: 'outcome', steps: 120 },
  coach: { source: 'coach', steps: 60 },
  'coach-flipped': { source: 'coach', steps: 40, coach: { flipProbability: 0.2 } },
  'coach-biased': { source: 'coach', steps: 40, coach: { fixedScores: { executor: 8 } } },
};

type Result = {
  readonly base: number;
  readonly curve: readonly Point[];
  readonly alarms: readonly string[];
  /** How often a role of the untrained team is right in all that it writes, given what the others wrote. */
  readonly right: ReadonlyMap<string, number>;
};

const options = readArmOptions('mappa', Object.keys(arms));
const { train, heldOut } = splitTranslations();
const results = new Map<string, Result[]>();
for (let seed = 1; seed <= options.seeds; seed++) {
  for (const [base, choice] of bases.slice(0, options.bases).entries()) {
    const model = await makeTranslateBase(join(root, '.teamtune'), choice);
    for (const [name, arm] of Object.entries(arms)) {
      if (!options.wants(name)) continue;
      const directory = runDirectory('bench-mappa', `${name}-base-${base}-seed-${seed}`);
      const result = await trained(directory, inputOf(name, arm, { model, seed }), (run) => ({
        base,
        curve: pointsOf(run, gamesPerStep, arm.steps),
        right: rightOf(run),
        alarms: auditOf(run.auditedActions()).alarms.map(({ agent, kind }) => `${agent}: ${kind}`),
      }));
      results.set(name, [...(results.get(name) ?? []), result]);
    }
  }
}
report();

function inputOf(
  name: string,
  { source, steps, coach }: Arm,
  { model, seed }: { readonly model: string; readonly seed: number },
): RunInput {
  return {
    name: `bench-mappa-${name}`,
    seed,
    team: translateTeam,
    model: { path: model, maxRows: 512, threads: 1 },
    adapter: { rank: 16, alpha: 32 },
    tasks: { train, heldOut: heldOut.slice(0, heldOutTasks) },
    coach: createRuleCoach({ name: 'translation rules', judge: judgeTranslation, seed, ...coach }),
    rollout: { tasksPerStep: gamesPerStep, samplesPerTask: 1, concurrency: 512 },
    credit: { source, klCoefficient: 0.005 },
    update: { learningRate: 2e-3 },
    training: { steps },
    evaluation: { every: evaluateEvery },
  };
}

function rightOf(run: Run): ReadonlyMap<string, number> {
  const verdicts = run.trajectoriesOf('eval:base').flatMap(({ taskId, actions }) => {
    const task = { id: taskId, prompt: taskId };
    return actions.map((action, place) => {
      const verdict = judgeTranslation({ task, action, earlier: actions.slice(0, place) });
      return { role: action.agent, isRight: 'score' in verdict && verdict.score === 10 };
    });
  });
  const shareOf = (wanted: string) => {
    const own = verdicts.filter(({ role }) => role === wanted);
    return own.filter(({ isRight }) => isRight).length / own.length;
  };
  return new Map(Object.keys(predictedRight).map((role) => [role, shareOf(role)]));
}

/** Each base as it was before training, beside what it was made to be. */
function reportBases(): void {
  const all = [...results.values()].flat();
  for (const base of bases.slice(0, options.bases).keys()) {
    const runs = all.filter((run) => run.base === base);
    const shares = Object.entries(predictedRight).map(([role, predicted]) => {
      const { mean } = summarize(runs.map(({ right }) => right.get(role) ?? Number.NaN));
      return `${role} ${mean.toFixed(3)} (predicted ${predicted.toFixed(3)})`;
    });
    console.log(`base ${base} before training: ${shares.join(', ')}`);
  }
}

function report(): void {
  const games = new Map<string, number[]>();
  const unreached = new Map<string, number>();
  reportBases();
  for (const [name, runs] of results) {
    const all = (arms[name]?.steps ?? 0) * gamesPerStep;
    const reached = runs.map(({ curve }) => trajectoriesTo(target, curve));
    games.set(
      name,
      reached.map((count) => count ?? all),
    );
    const final = runs.map(({ curve }) => curve.at(-1)?.accuracy.toFixed(3)).join(', ');
    const missed = reached.filter((count) => count === undefined).length;
    unreached.set(name, missed);
    const never = missed === 0 ? '' : `; ${missed} never reached ${target} in ${all} games`;
    const alarms = [...new Set(runs.flatMap((run) => run.alarms))].join(', ') || 'none';
    console.log(`${name}: final accuracy ${final}${never}; alarms of the audit: ${alarms}`);
  }
  console.log(`\ngames to a held-out accuracy of ${target}`);
  printArms(games, options.json, { unreached });
}
