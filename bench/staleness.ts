/**
 * What plays ahead of training gain with a slow coach, and what they cost in learning:
 * `npm run bench:staleness -- --steps 60 --every 10 --latency 4000 --json`
 *
 * The quickstart's team, coach and tasks; every verdict takes `--latency` milliseconds, `--concurrency` at a time: with few a step
 * waits for its turn at the coach, with many for the coach's last word. With `--slow-plays` every play ends up to so many
 * milliseconds later than its last action, as if a tool took them. Trained once for each
 * `rollout.maxStalenessSteps` 0, 1 and 2; printed are the seconds of a step (median, without the first, whose plays
 * nothing is ahead of) and the held-out accuracy before, every `--every` steps and after. Runs are kept in
 * runs/bench-staleness and are not done again; `--only` trains some of the arms.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunInput } from '../src/config/schema.ts';
import { createRandom, seedFor } from '../src/random.ts';
import type { Run } from '../src/run/run-store.ts';
import type { Coach } from '../src/types/feedback.ts';
import { makeBaseModel } from '../teams/arithmetic/base-model.ts';
import { createArithmeticCoach } from '../teams/arithmetic/coach.ts';
import quickstartRun from '../teams/arithmetic/teamtune.config.ts';
import { arithmeticTeam } from '../teams/arithmetic-team.ts';
import { runDirectory, trained } from './support/arms.ts';
import { type Point, pointsOf } from './support/curves.ts';
import { root } from './support/places.ts';
import { readChoice, readCount, readFlags } from './support/read-flags.ts';

const playsPerStep = 48;
const arms = ['0', '1', '2'];
const values = readFlags('staleness', {
  steps: { type: 'string', default: '60', help: 'training steps' },
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
const slowest = readCount('staleness', { 'slow-plays': values['slow-plays'] });
const wants = readChoice('staleness', values.only, arms);

/** What a run came to. */
type Result = {
  readonly secondsPerStep: number;
  readonly truncatedRatios: number;
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
  const later = run.metrics().slice(1);
  const seconds = later.map(({ metrics }) => metrics.seconds ?? Number.NaN);
  const shares = later.flatMap(({ metrics }) => metrics['truncated-ratios/solver'] ?? []);
  return {
    secondsPerStep:
      seconds.toSorted((less, more) => less - more)[seconds.length >> 1] ?? Number.NaN,
    truncatedRatios: shares.reduce((sum, share) => sum + share, 0) / Math.max(1, shares.length),
    curve: pointsOf(run, playsPerStep, steps),
  };
}

function report(): void {
  const base = results.get('0')?.secondsPerStep;
  for (const [arm, { secondsPerStep, truncatedRatios, curve }] of results) {
    const ratio = base === undefined ? '' : `, ${(secondsPerStep / base).toFixed(2)}×`;
    const accuracies = curve.map(({ accuracy }) => (100 * accuracy).toFixed(1)).join(', ');
    console.log(
      `${arm} steps ahead: ${secondsPerStep.toFixed(1)} s a step${ratio}; ${(100 * truncatedRatios).toFixed(2)} % of the solver's tokens at the limit; held-out accuracy ${accuracies} %`,
    );
  }
  if (values.json)
    console.log(JSON.stringify({ steps, latency, concurrency, arms: Object.fromEntries(results) }));
}
