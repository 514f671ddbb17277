/**
 * The quickstart's team in process and through a training server: `npm run bench:server-curve -- --steps 60 --json`
 *
 * The server is that of the tests, which speaks the Tinker protocol as TuFT does over an engine of its own; both sides have
 * the same seed, tasks and coach, and gradients that are not clipped, as on TuFT. Held-out accuracy with its interval is
 * printed before, every `--every` steps and after, and the largest difference of the steps' metrics. Runs are kept in
 * runs/bench-server-curve and are not done again; `--only here` and `--only there` train one side, for two at a time.
 */
import { join } from 'node:path';
import type { RunInput } from '../src/config/schema.ts';
import { tinker } from '../src/config/service-schema.ts';
import { accuracyOf } from '../src/run/accuracy.ts';
import type { Run } from '../src/run/run-store.ts';
import { makeBaseModel } from '../teams/arithmetic/base-model.ts';
import quickstartRun from '../teams/arithmetic/teamtune.config.ts';
import { startTinkerServer } from '../test/support/tinker-server/tinker-server.ts';
import { runDirectory, trained } from './support/arms.ts';
import { root } from './support/places.ts';
import { readChoice, readCount, readFlags } from './support/read-flags.ts';

const values = readFlags('server-curve', {
  steps: { type: 'string', default: '60', help: 'training steps' },
  every: { type: 'string', default: '10', help: 'steps between evaluations' },
  seed: { type: 'string', default: '1', help: 'of the run' },
  only: {
    type: 'string',
    help: 'here or there: trains that side; both are compared only without it',
  },
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});
const [steps, every, seed] = (['steps', 'every', 'seed'] as const).map((name) =>
  readCount('server-curve', { [name]: values[name] }),
);
const names = ['here', 'there'] as const;
const wants = readChoice('server-curve', values.only, names);

/** What a run came to, without what depends on the clock. */
function read(run: Run) {
  const curve = run.evaluations().map(({ name, rows }) => {
    const { accuracy = Number.NaN, low, high } = accuracyOf(rows) ?? {};
    return { name, accuracy, interval: [low, high] };
  });
  // By name, since a play that has an action more would shift all that come after it.
  const texts = new Map(
    run.metrics().flatMap(({ step }) => run.actionsOf(step).map(({ id, text }) => [id, text])),
  );
  return { curve, texts, metrics: run.metrics() };
}
type Side = ReturnType<typeof read>;

const model = await makeBaseModel(join(root, '.teamtune'), () => undefined);
const name = `seed-${seed}-steps-${steps}-every-${every}`;
const input: RunInput = {
  ...quickstartRun,
  name: 'bench-server-curve',
  ...(seed !== undefined && { seed }),
  model: { path: model, threads: 1 },
  update: { ...quickstartRun.update, maxGradNorm: false },
  training: { steps },
  evaluation: { every },
};
const sides = { here: trainedHere, there: trainedThere };
if (values.only === undefined) report(await trainedHere(), await trainedThere());
else for (const side of names.filter(wants)) await sides[side]();

function trainedHere(): Promise<Side> {
  return trained(runDirectory('bench-server-curve', `${name}-here`), input, read);
}

async function trainedThere(): Promise<Side> {
  const directory = runDirectory('bench-server-curve', `${name}-there`);
  const engine = { modelDirectory: model, threads: 1 };
  const server = await startTinkerServer({
    kind: 'tuft',
    engine,
    directory: `${directory}-server`,
  });
  try {
    const service = tinker({ url: server.url, server: 'tuft', baseModel: 'tiny' });
    return await trained(directory, { ...input, service }, read);
  } finally {
    await server.close();
  }
}

/** Metric → the largest difference between the two sides over all steps. */
function differences(here: Side, there: Side): ReadonlyMap<string, number> {
  const largest = new Map<string, number>();
  for (const [index, { metrics }] of here.metrics.entries()) {
    for (const [metric, value] of Object.entries(metrics)) {
      const other = there.metrics[index]?.metrics[metric];
      const area = metric.split('/')[0] ?? metric;
      if (other === undefined || !/^(loss|kl|grad-norm|score|accuracy)$/.test(area)) continue;
      largest.set(area, Math.max(largest.get(area) ?? 0, Math.abs(value - other)));
    }
  }
  return largest;
}

function report(here: Side, there: Side): void {
  const equal = [...here.texts].filter(([id, text]) => text === there.texts.get(id)).length;
  const curve = here.curve.map(({ name: at, accuracy, interval }, index) => ({
    ...{ at, here: accuracy, low: interval[0], high: interval[1] },
    there: there.curve[index]?.accuracy,
  }));
  console.table(curve);
  console.log(`${equal} of ${here.texts.size} actions are the same text`);
  const largest = Object.fromEntries(differences(here, there));
  for (const [area, value] of Object.entries(largest)) {
    console.log(`${area.padEnd(10)} differs by at most ${value.toExponential(1)}`);
  }
  if (!values.json) return;
  console.log(JSON.stringify({ curve, actions: here.texts.size, equal, differences: largest }));
}
