import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createRandom, type Random, seedFor, shuffled } from '../random.ts';
import type { Description } from './corrections.ts';
import { layout } from './load-table-tasks.ts';
import type { MetricName } from './metrics.ts';

/** The kinds of synthetic tasks, which take turns. */
const kinds = ['binary', 'regression', 'multiclass', 'targets'] as const;
type Kind = (typeof kinds)[number];

const metricsOf = {
  binary: ['roc_auc', 'accuracy', 'f1', 'log_loss'],
  regression: ['rmse', 'mae', 'rmsle', 'r2'],
  multiclass: ['accuracy', 'f1_weighted', 'f1_macro'],
  targets: ['mcrmse', 'mae', 'rmsle'],
} as const satisfies Record<Kind, readonly MetricName[]>;

const idNames = ['id', 'row_id', 'Id', 'customer'] as const;
const targetNames = ['target', 'label', 'outcome', 'y'] as const;
const classNames = ['low', 'middle', 'high'] as const;
const groups = ['red', 'green', 'blue'] as const;
const featureNames = ['age', 'size', 'speed', 'price'] as const;

export type MakeTablesOptions = {
  readonly train: number;
  readonly heldOut: number;
  readonly seed: number;
  /** Rows of each train.csv; the test sets have half as many. */
  readonly rows: number;
  /** Only these kinds; default all. */
  readonly kinds?: readonly Kind[];
};

/** One synthetic problem: how targets come about from the features, which no other task shares. */
type Problem = {
  readonly id: string;
  readonly kind: Kind;
  readonly metric: MetricName;
  readonly idColumn: string;
  readonly targets: readonly string[];
  /** Weights of the features, one array a linear score. */
  readonly weights: readonly (readonly number[])[];
  readonly groupEffects: readonly number[];
};

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

function pick<Item>(items: readonly Item[], random: Random): Item {
  return items[random.integer(items.length)] as Item;
}

function problemOf(id: string, kind: Kind, random: Random): Problem {
  const target = pick(targetNames, random);
  const scores = { binary: 1, regression: 1, multiclass: 1, targets: 2 }[kind];
  return {
    id,
    kind,
    metric: pick<MetricName>(metricsOf[kind], random),
    idColumn: pick(idNames, random),
    targets: kind === 'targets' ? [`${target}_a`, `${target}_b`] : [target],
    weights: Array.from({ length: scores }, () => featureNames.map(() => strongWeight(random))),
    groupEffects: groups.map(() => normal(random)),
  };
}

/** Never near 0, so that no table is without a signal. */
function strongWeight(random: Random): number {
  const size = 0.5 + random.uniform();
  return random.uniform() < 0.5 ? -size : size;
}

type Row = { readonly features: readonly string[]; readonly targets: readonly string[] };

/** A row is drawn on its own: it knows nothing of others, of its id, or of which table it comes into. */
function drawRow(problem: Problem, random: Random): Row {
  const values = featureNames.map(() => normal(random));
  const group = random.integer(groups.length);
  const scores = problem.weights.map((weights) =>
    weights.reduce(
      (sum, weight, feature) => sum + weight * (values[feature] ?? 0),
      (problem.groupEffects[group] ?? 0) + 0.4 * normal(random),
    ),
  );
  const shown = values.map((value) => (random.uniform() < 0.03 ? '' : value.toFixed(4)));
  return { features: [...shown, groups[group] ?? ''], targets: scores.map(targetOf(problem)) };
}

function targetOf({ kind }: Problem): (score: number) => string {
  switch (kind) {
    case 'binary':
      return (score) => (score > 0 ? '1' : '0');
    case 'multiclass':
      return (score) => classNames[score < -0.8 ? 0 : score < 0.8 ? 1 : 2];
    // Not negative, as counts and prices are, for the metrics that want that.
    default:
      return (score) => Math.max(0, 20 + 4 * score).toFixed(4);
  }
}

function csvOf(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return `${[header, ...rows].map((row) => row.join(',')).join('\n')}\n`;
}

function tablesOf(problem: Problem, rows: number, seed: number) {
  const random = createRandom(seed);
  const { idColumn, targets } = problem;
  const count = rows + Math.ceil(rows / 2);
  const drawn = Array.from({ length: count }, () => drawRow(problem, random));
  // Ids in random order: neither they nor their place tell of a target.
  const ids = shuffled(
    drawn.map((_, index) => String(1000 + index)),
    random,
  );
  const named = drawn.map((row, index) => ({ ...row, id: ids[index] ?? '' }));
  const [train, test] = [named.slice(0, rows), named.slice(rows)];
  const features = [idColumn, ...featureNames, 'group'];
  return {
    train: csvOf(
      [...features, ...targets],
      train.map((row) => [row.id, ...row.features, ...row.targets]),
    ),
    test: csvOf(
      features,
      test.map((row) => [row.id, ...row.features]),
    ),
    answers: csvOf(
      [idColumn, ...targets],
      test.map((row) => [row.id, ...row.targets]),
    ),
  };
}

const asked = {
  binary: 'which of two classes, 0 or 1, a row belongs to',
  multiclass: `which class (${classNames.join(', ')}) a row belongs to`,
  regression: 'a number of each row',
  targets: 'two numbers of each row',
} satisfies Record<Kind, string>;

function describe(problem: Problem): Description {
  const { id, kind, metric, idColumn, targets } = problem;
  const isProbability = metric === 'roc_auc' || metric === 'log_loss';
  const example =
    kind === 'multiclass' ? 'middle' : kind === 'binary' ? (isProbability ? '0.7' : '1') : '20.5';
  return {
    cleaned_prompt: `Task: In table ${id}, predict ${asked[kind]}.

Evaluation: ${metric}.

Submission Format:
${[idColumn, ...targets].join(',')}
1000,${targets.map(() => example).join(',')}
${isProbability ? '(predict the probability of 1)\n' : ''}
Dataset:
- ${featureNames.join(', ')}: numbers, some missing; group: one of ${groups.join(', ')}
- ${targets.join(', ')}: TARGET

Files:
- train.csv: rows for training
- test.csv: rows for prediction`,
    metric,
    task_type: kind === 'binary' || kind === 'multiclass' ? 'classification' : 'regression',
    target_column: targets.length === 1 ? (targets[0] ?? '') : targets,
    id_column: idColumn,
  };
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/**
 * Writes synthetic tasks in DSBench's layout: `dsbench_modeling_train.json`, `dsbench_modeling_eval.json`, their
 * descriptions, tables and answers. The same options write the same bytes. Every task has relations of its own, so
 * that what is learned of one table says nothing about another.
 */
export async function makeTables(folder: string, options: MakeTablesOptions): Promise<void> {
  const { train, heldOut, seed, rows } = options;
  const chosen = options.kinds ?? kinds;
  const descriptions: Record<string, Description> = {};
  const makeSet = async (name: 'train' | 'eval', count: number) => {
    const lines: string[] = [];
    for (let index = 0; index < count; index++) {
      const kind = chosen[index % chosen.length] as Kind;
      const id = `${kind}-${seed}-${name}-${index + 1}`;
      const problem = problemOf(id, kind, createRandom(seedFor('problem', seed, id)));
      const tables = tablesOf(problem, rows, seedFor('rows', seed, id));
      descriptions[id] = describe(problem);
      const { cleaned_prompt: prompt, task_type: data_type } = descriptions[id];
      const metadata = { task_id: id, task_type: 'data_modeling', data_type };
      lines.push(JSON.stringify({ prompt, answer: null, metadata }));
      await write(join(folder, layout.trainFile(id)), tables.train);
      await write(join(folder, layout.testFile(id)), tables.test);
      await write(join(folder, layout.answersFile(id)), tables.answers);
    }
    await write(join(folder, `dsbench_modeling_${name}.json`), `${lines.join('\n')}\n`);
  };
  await makeSet('train', train);
  await makeSet('eval', heldOut);
  await write(join(folder, layout.descriptions), `${JSON.stringify(descriptions, null, 1)}\n`);
}
