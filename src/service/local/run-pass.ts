import { noGrad } from '../../engine/autograd.ts';
import type { PassResult } from '../../types/training-service.ts';
import { formMicroBatches } from './form-micro-batches.ts';
import { type DatumResult, type Pass, scoreMicroBatch } from './score-micro-batch.ts';

/**
 * Runs the data through the model in micro-batches, one per `next()`; with a loss, gradients add to what was there.
 *
 * @param pass data must have passed `checkData`
 */
export function* runPass(pass: Pass): Generator<void, PassResult> {
  const results: DatumResult[] = [];
  let isFirst = true;
  for (const group of groupsOf(pass)) {
    if (!isFirst) yield;
    isFirst = false;
    pass.onMicroBatch?.();
    const groupResults = runMicroBatch({
      ...pass,
      data: group.flatMap((row) => pass.data[row] ?? []),
    });
    group.forEach((row, index) => {
      results[row] = groupResults[index] as DatumResult;
    });
  }
  const values = results.flatMap((result) => (result.values === undefined ? [] : [result.values]));
  return {
    logprobs: results.map(({ logprobs }) => logprobs),
    ...(pass.valueHead && { values }),
    metrics: sumMetrics(pass, results),
  };
}

/** Row numbers of each micro-batch; the two rows of a preference pair stay together. */
function groupsOf({ data, loss, microBatchTokens }: Pass): readonly (readonly number[])[] {
  const lengths = data.map(({ input }) => input.length);
  if (loss?.kind !== 'dpo') return formMicroBatches(lengths, microBatchTokens);
  const pairs = Array.from({ length: data.length / 2 }, (_, pair) => [2 * pair, 2 * pair + 1]);
  const pairLengths = pairs.map((rows) => rows.reduce((sum, row) => sum + (lengths[row] ?? 0), 0));
  const groups = formMicroBatches(pairLengths, microBatchTokens);
  return groups.map((group) => group.flatMap((pair) => pairs[pair] ?? []));
}

function runMicroBatch(pass: Pass): readonly DatumResult[] {
  const score = () => scoreMicroBatch(pass);
  return pass.loss === undefined ? noGrad(score) : score();
}

/** Sums in the order of the data, so that they do not depend on how micro-batches were formed. */
function sumMetrics({ loss }: Pass, results: readonly DatumResult[]): Record<string, number> {
  if (loss === undefined) {
    const count = ({ logprobs }: DatumResult) => logprobs.filter((p) => !Number.isNaN(p)).length;
    return { tokens: sumOf(results, count) };
  }
  const names = Object.keys(results[0]?.sums ?? {}).filter((name) =>
    results.every(({ sums }) => name in sums),
  );
  return Object.fromEntries(
    names.map((name) => [name, sumOf(results, ({ sums }) => sums[name] ?? Number.NaN)]),
  );
}

function sumOf<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
