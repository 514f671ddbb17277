/**
 * A training step against transformers + PEFT: same model, LoRA of rank 8 on every linear layer, same batch, AdamW:
 * `npm run bench:train -- --with-peers --json`
 *
 * Options as in bench:generate; cases: small-64, 0.5B-8.
 */
import { type Comparison, compare, type Sides } from './support/compare.ts';
import { printComparisons } from './support/print-comparisons.ts';
import { readOptions } from './support/read-options.ts';
import { modelFolder, randomTokens, type ShapeName } from './support/shapes.ts';
import { ownSide, peerSide } from './support/side.ts';

const rowTokens = 112;
const adam = {
  learningRate: 1e-4,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0.01,
  maxGradNorm: 1,
};

const cases: readonly { readonly shape: ShapeName; readonly rows: number }[] = [
  { shape: 'small', rows: 64 },
  { shape: '0.5B', rows: 8 },
];

const { python, runs, threads, json, wants } = readOptions(
  'train',
  cases.map(({ shape, rows }) => `${shape}-${rows}`),
);
const comparisons: Comparison[] = [];
for (const { shape, rows } of cases) {
  const name = `${shape}-${rows}`;
  if (!wants(name)) continue;
  const work = {
    modelDirectory: await modelFolder(shape),
    rows: randomTokens(rows, rowTokens, shape),
    ...{ rank: 8, alpha: 16, threads, adam },
  };
  const sides = { own: ownSide('train'), peer: peerSide(python, 'train') };
  comparisons.push(await compare({ name, ...sides, work, runs, agree }));
}
printComparisons({ peer: 'transformers + PEFT', threads }, comparisons, json);

/** Loss of the first step, before anything was learned: both sides' models are the same. */
function agree({ own, peer }: Sides): Readonly<Record<string, number>> {
  const [ours, theirs] = [own[0].facts?.loss ?? Number.NaN, peer[0].facts?.loss ?? Number.NaN];
  return { firstLoss: ours, peerFirstLoss: theirs };
}
