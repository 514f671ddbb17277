/**
 * Time and peak memory of one training step, with activations kept, with gradient checkpointing, and with rows padded to
 * one length instead of packed, alternating: `npm run bench:memory -- --runs 5 --json`
 */
import { createRandom } from '../src/random.ts';
import { readCount, readFlags } from './support/read-flags.ts';
import { modelFolder } from './support/shapes.ts';
import { ownSide, type Run, startSide } from './support/side.ts';

const values = readFlags('memory', {
  runs: { type: 'string', default: '5', help: 'runs of each variant' },
  rows: { type: 'string', default: '64', help: 'sequences of one step' },
  threads: { type: 'string', default: '2', help: 'of the engine' },
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});
const count = (name: 'runs' | 'rows' | 'threads') => readCount('memory', { [name]: values[name] });

const [shortest, longest] = [16, 240];
const random = createRandom(1);
const rows = Array.from({ length: count('rows') }, () =>
  Array.from({ length: shortest + random.integer(longest - shortest + 1) }, () =>
    random.integer(512),
  ),
);
const work = {
  ...{ modelDirectory: await modelFolder('small'), rows, rank: 8, alpha: 16 },
  ...{ threads: count('threads'), microBatchTokens: 32_768 },
  adam: { learningRate: 1e-5, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 },
};
const variants = {
  packed: work,
  checkpointed: { ...work, gradientCheckpointing: true },
  padded: { ...work, padTo: longest },
};

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

const sides = await Promise.all(
  Object.entries(variants).map(async ([name, of]) => {
    const side = await startSide(ownSide('train'), of);
    return { name, side, runs: [] as Run[] };
  }),
);
for (let run = 0; run < count('runs'); run++) {
  for (const { side, runs } of sides) runs.push(await side.run());
}
for (const { side } of sides) side.close();
const results = sides.map(({ name, side, runs }) => ({
  name,
  seconds: medianOf(runs.map(({ seconds }) => seconds)),
  peakMiB: Math.max(...runs.map(({ peakMiB }) => peakMiB)),
  ...side.ready.facts,
}));
if (values.json) console.log(JSON.stringify(results));
else console.table(results);
