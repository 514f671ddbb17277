/**
 * A whole reinforcement-learning step against TRL's GRPOTrainer: same model, LoRA of rank 8 on every linear layer,
 * 8 prompts × 8 samples × 64 tokens, log-probabilities under the reference for the divergence term, one optimiser step:
 * `npm run bench:rl-step -- --with-peers --json`
 *
 * Options as in bench:generate. The reward is the share of odd token ids, which costs nothing on either side.
 */
import { type Comparison, compare, type Sides } from './support/compare.ts';
import { printComparisons } from './support/print-comparisons.ts';
import { readOptions } from './support/read-options.ts';
import { modelFolder, randomTokens, vocabSizeOf } from './support/shapes.ts';
import { ownSide, peerSide } from './support/side.ts';

/** 57 on average. */
const promptLengths = [50, 52, 54, 56, 58, 60, 62, 64];

const name = 'small-64';
const { python, runs, threads, json } = readOptions('rl-step', [name]);
const work = {
  modelDirectory: await modelFolder('small'),
  vocabSize: vocabSizeOf('small'),
  prompts: promptLengths.flatMap((length) => randomTokens(1, length, 'small')),
  ...{ samples: 8, maxTokens: 64, rank: 8, alpha: 16, klCoefficient: 0.04, learningRate: 1e-4 },
  ...{ runs, threads },
};
const sides = { own: ownSide('rl-step'), peer: peerSide(python, 'rl_step') };
const comparisons: Comparison[] = [await compare({ name, ...sides, work, runs, agree })];
printComparisons({ peer: 'TRL', threads }, comparisons, json);

/** Tokens of a completion, on average over the last step. */
function agree({ own, peer }: Sides): Readonly<Record<string, number>> {
  const lengthOf = (side: Sides['own']) => side.at(-1)?.facts?.meanLength ?? Number.NaN;
  return { meanLength: lengthOf(own), peerMeanLength: lengthOf(peer) };
}
