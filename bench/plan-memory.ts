/**
 * What the plan says that a model and one training step take, beside how far the memory of a process rises over them:
 * `npm run bench:plan-memory -- --json`
 */
import { planMemory, totalMemory } from '../src/service/local/plan-memory.ts';
import { readFlags } from './support/read-flags.ts';
import { modelFolder, randomTokens, type ShapeName, shapeOf } from './support/shapes.ts';
import { ownSide, startSide } from './support/side.ts';

const values = readFlags('plan-memory', {
  shape: { type: 'string', help: 'small or 0.5B; default: both' },
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});

type Case = {
  readonly name: string;
  readonly rows: readonly (readonly number[])[];
  readonly loss: 'importance_sampling' | 'cross_entropy' | 'dpo';
  readonly isCheckpointed: boolean;
  /** Tokens that go through the model: what rows begin with in common counts once. */
  readonly tokens: number;
};

/** Prompts have so many tokens; only what follows them is scored. */
const promptTokens = 32;
const lengths = { small: 8192, '0.5B': 1024 } as const satisfies Record<ShapeName, number>;

/** The same token budget as rows of one length, of many lengths, and as pairs that begin alike. */
function casesOf(shape: ShapeName): readonly Case[] {
  const budget = lengths[shape];
  const even = randomTokens(budget / 128, 128, shape);
  const uneven = randomTokens(budget / 128, 224, shape).map((row, index) =>
    row.slice(0, 48 + Math.floor((160 * index) / (budget / 128))),
  );
  const pairs = randomTokens(budget / 128, 128, shape).map((row, index, all) =>
    index % 2 === 0
      ? row
      : [...(all[index - 1] ?? []).slice(0, promptTokens), ...row.slice(promptTokens)],
  );
  const tokensOf = (rows: readonly (readonly number[])[]) =>
    rows.reduce((total, row) => total + row.length - 1, 0);
  const plain = { loss: 'cross_entropy', isCheckpointed: false } as const;
  return [
    { name: 'rows of one length', rows: even, tokens: tokensOf(even), ...plain },
    { name: 'checkpointed', rows: even, tokens: tokensOf(even), ...plain, isCheckpointed: true },
    { name: 'packed rows of many lengths', rows: uneven, tokens: tokensOf(uneven), ...plain },
    {
      ...{ name: 'DPO on pairs', rows: pairs, isCheckpointed: false, loss: 'dpo' },
      tokens: tokensOf(pairs) - (pairs.length / 2) * promptTokens,
    },
    {
      name: 'policy gradient',
      rows: even,
      tokens: tokensOf(even),
      ...plain,
      loss: 'importance_sampling',
    },
  ];
}

async function compare(shape: ShapeName, each: Case) {
  const { name, rows, loss, isCheckpointed, tokens } = each;
  const scoredFrom = promptTokens - 1;
  const side = await startSide(ownSide('plan-memory'), {
    modelDirectory: await modelFolder(shape),
    ...{ rows, loss, scoredFrom, gradientCheckpointing: isCheckpointed },
  });
  const { facts } = await side.run();
  side.close();
  const scoredTokens = rows.reduce((total, row) => total + row.length - promptTokens, 0);
  const use = {
    dtype: 'float32',
    device: 'cpu',
    rank: 8,
    policies: 1,
    rows: 0,
    context: 0,
  } as const;
  const plan = planMemory(shapeOf(shape), {
    ...use,
    ...{ passTokens: tokens, scoredTokens, isCheckpointed },
  });
  const plannedMiB = Math.round(totalMemory(plan) / 2 ** 20);
  const measuredMiB = Math.round(facts?.takenMiB ?? Number.NaN);
  const ratio = Number((plannedMiB / measuredMiB).toFixed(2));
  return { shape, name, tokens, plannedMiB, measuredMiB, ratio };
}

const shapes = (values.shape === undefined ? Object.keys(lengths) : [values.shape]) as ShapeName[];
const results = [];
for (const shape of shapes) {
  for (const each of casesOf(shape)) results.push(await compare(shape, each));
}
if (values.json) console.log(JSON.stringify(results));
else console.table(results);
