/**
 * Sampling against transformers' `generate`, same model, same prompts, as many tokens:
 * `npm run bench:generate -- --with-peers --json`
 *
 * Options: --runs 5 · --threads (default: all cores) · --only small-64,small-8,0.5B-8 · --peers FOLDER (a virtual
 * environment that is there already). The engine also returns the log-probability of every token, which `generate` is
 * not asked for.
 */
import { type Comparison, compare, type Sides } from './support/compare.ts';
import { printComparisons } from './support/print-comparisons.ts';
import { readOptions } from './support/read-options.ts';
import { modelFolder, randomTokens, type ShapeName } from './support/shapes.ts';
import { ownSide, peerSide } from './support/side.ts';

const promptTokens = 48;
const newTokens = 64;

const cases: readonly { readonly shape: ShapeName; readonly rows: number }[] = [
  { shape: 'small', rows: 64 },
  { shape: 'small', rows: 8 },
  { shape: '0.5B', rows: 8 },
];

const { python, runs, threads, json, wants } = readOptions(
  'generate',
  cases.map(({ shape, rows }) => `${shape}-${rows}`),
);
const comparisons: Comparison[] = [];
for (const { shape, rows } of cases) {
  const name = `${shape}-${rows}`;
  if (!wants(name)) continue;
  const work = {
    modelDirectory: await modelFolder(shape),
    prompts: randomTokens(rows, promptTokens, shape),
    maxTokens: newTokens,
    threads,
  };
  const sides = { own: ownSide('generate'), peer: peerSide(python, 'generate') };
  comparisons.push(await compare({ name, ...sides, work, runs, agree }));
}
printComparisons({ peer: 'transformers', threads }, comparisons, json);

/** The share of greedy tokens, up to the first that differs in each row, that both sides chose alike. */
function agree({ own, peer }: Sides): Readonly<Record<string, number>> {
  const [ours, theirs] = [own[0].tokens ?? [], peer[0].tokens ?? []];
  const equal = ours.map((row, index) => {
    const differs = row.findIndex((token, at) => token !== theirs[index]?.[at]);
    return (differs < 0 ? row.length : differs) / row.length;
  });
  return {
    greedyTokensEqual: equal.reduce((sum, share) => sum + share, 0) / equal.length,
    rowsWhollyEqual: equal.filter((share) => share === 1).length / equal.length,
  };
}
