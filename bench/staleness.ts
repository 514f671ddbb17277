/**
 * What plays ahead of training gain with a slow coach, and what they cost in learning:
 * `npm run bench:staleness -- --steps 60 --every 10 --latency 4000 --json`
 *
 * The quickstart's team, coach and tasks; every verdict takes `--latency` milliseconds, `--concurrency` at a time: with few a step
 * waits for its turn at the coach, with many for the coach's last word. With `--slow-plays` every play ends up to so many
 * milliseconds later than its last action, as if a tool took them. Trained once for each
 * `rollout.maxStalenessSteps` 0, 1 and 2. Printed are the seconds from the end of step 1, whose plays nothing is ahead of, to
 * the end of the last, checkpoints and the evaluations in between included; what of them is a step's share; how much was
 * corrected; and the held-out accuracy before, every `--every` steps and after. Runs are kept in runs/bench-staleness and
 * are not done again, one that was interrupted goes on, and the time that it lay counts; `--only` trains some of the arms.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunInput } from '../src/config/schema.ts';
import { createRandom, seedFor } from '../src/random.ts';
import { agentNames } from '../src/rollout/team.ts';
import type { Run } from '../src/run/run-store.ts';
import type { Coach } from '../src/types/feedback.ts';
import { makeBaseModel } from '../teams/arithmetic/base-model.ts';
import { createArithmeticCoach } from '../teams/arithmetic/coach.ts';
import quickstartRun from '../teams/arithmetic/teamtune.config.ts';
import { arithmeticTeam } from '../teams/arithmetic-team.ts';
import { runDirectory, trained } from './support/arms.ts';
import { type Point, pointsOf } from './support/curves.ts';
import { root } from './support/places.ts';
import { readChoice, readCount, readFlags, refuse } from './support/read-flags.ts';

const playsPerStep = 48;
const arms = ['0', '1', '2'];
const values = readFlags('staleness', {
  steps: { type: 'string', default: '60', help: 'training steps, at least 2' },
  every: { type: 'string', default: '10', help: 'steps between evaluations' },
  latency: { type: 'string', default: '4000', help: 'milliseconds that a verdict takes' },
  concurrency: { type: 'string', default: '64', help: 'verdicts at a time' },
  'slow-plays': { type: 'string', default: '1', help: 'milliseconds that plays wait at most' },
  only: { type: 'string', help: 'steps ahead, with commas between: 0, 1, 2' },
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});
const [steps, every, latency, concurrency] = (
  ['steps', 'every', 'latency', 'concurrency'] as const
).map((name) => readCount('staleness', { [name]: values[name] })) as [
  number,
  number,
  number,
  number,
];
if (steps < 2) refuse('staleness', `--steps: expected at least 2, got ${steps}`);
const slowest = readCount('staleness', { 'slow-plays': values['slow-plays'] });
const wants = readChoice('staleness', values.only, arms);

/** What a run came to. */
type Result = {
  /** Between the ends of the first step and the last. */
  readonly seconds: number;
  readonly secondsPerStep: number;
  /** Between these ends. */
  readonly evaluations: number;
  /** Of the steps that were corrected; absent where none was. */
  readonly correction?: {
    /** Share of the solver's tokens whose ratio is held at the limit: mean over steps, and the most of one. */
    readonly truncatedRatios: { readonly mean: number; readonly most: number };
    /** By agent, nats, mean over steps. */
    readonly behaviourKl: Readonly<Record<string, number>>;
  };
  readonly curve: readonly Point[];
};

const model = await makeBaseModel(join(root, '.teamtune'), () => undefined);
const results = new Map<string, Result>();
for (const arm of arms.filter(wants)) {
  const name = `ahead-${arm}-steps-${steps}-every-${every}-latency-${latency}-at-once-${concurrency}-slow-${slowest}`;
  const directory = runDirectory('bench-staleness', name);
  results.set(arm, await trained(directory, inputOf(Number(arm)), read));
}
report();

function inputOf(maxStalenessSteps: number): RunInput {
  return {
    ...quickstartRun,
    name: 'bench-staleness',
    team: slowTeam(),
    model: { path: model, threads: 1 },
    coach: slowCoach(createArithmeticCoach()),
    coaching: { concurrency },
    rollout: { ...quickstartRun.rollout, tasksPerStep: playsPerStep, maxStalenessSteps },
    training: { steps, keepCheckpoints: 4 },
    evaluation: { every },
  };
}

/** Each task waits as long in every run. */
function slowTeam(): typeof arithmeticTeam {
  const play: typeof arithmeticTeam.play = async (task, agents, scene) => {
    const answer = await arithmeticTeam.play(task, agents, scene);
    await sleep(slowest * createRandom(seedFor(1, 'slow', task.id)).uniform());
    return answer;
  };
  return { ...arithmeticTeam, play };
}

function slowCoach(coach: Coach): Coach {
  return {
    ...coach,
    score: async (...asked) => {
      await sleep(latency);
      return coach.score(...asked);
    },
  };
}

function read(run: Run): Result {
  const ends = run.completedSteps().map(({ completedAt }) => completedAt.getTime());
  const seconds = ((ends.at(-1) ?? Number.NaN) - (ends[0] ?? Number.NaN)) / 1000;
  const curve = pointsOf(run, playsPerStep, steps);
  const within = curve.filter(
    ({ trajectories }) => trajectories > playsPerStep && trajectories < steps * playsPerStep,
  );
  const correction = correctionOf(run);
  return {
    ...{ seconds, secondsPerStep: seconds / (ends.length - 1), evaluations: within.length },
    ...{ ...(correction && { correction }), curve },
  };
}

function correctionOf(run: Run): Result['correction'] {
  const valuesOf = (metric: string) =>
    run.metrics().flatMap(({ metrics }) => metrics[metric] ?? []);
  const truncated = valuesOf('truncated-ratios/solver');
  if (truncated.length === 0) return undefined;
  const kl = agentNames(arithmeticTeam).map(
    (agent) => [agent, meanOf(valuesOf(`behaviour-kl/${agent}`))] as const,
  );
  return {
    truncatedRatios: { mean: meanOf(truncated), most: Math.max(...truncated) },
    behaviourKl: Object.fromEntries(kl),
  };
}

function meanOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

function report(): void {
  const base = results.get('0')?.seconds;
  for (const [arm, { seconds, secondsPerStep, evaluations, correction, curve }] of results) {
    const ratio = base === undefined ? '' : `, ${(seconds / base).toFixed(2)}×`;
    const accuracies = curve.map(({ accuracy }) => (100 * accuracy).toFixed(1)).join(', ');
    console.log(
      `${arm} steps ahead: ${secondsPerStep.toFixed(2)} s a step (${seconds.toFixed(0)} s from the end of step 1 to that of step ${steps}, evaluations in between: ${evaluations})${ratio}; ${describe(correction)}held-out accuracy ${accuracies} %`,
    );
  }
  if (values.json)
    console.log(JSON.stringify({ steps, latency, concurrency, arms: Object.fromEntries(results) }));
}

function describe(correction: Result['correction']): string {
  if (correction === undefined) return '';
  const { mean, most } = correction.truncatedRatios;
  const kl = Object.entries(correction.behaviourKl).map(
    ([agent, nats]) => `${agent} ${nats.toExponential(0)}`,
  );
  return `${(100 * mean).toFixed(3)} % of the solver's tokens at the limit (most in a step ${(100 * most).toFixed(2)} %); behaviour-kl ${kl.join(', ')} nats; `;
}
