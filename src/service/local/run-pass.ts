import { backward, noGrad } from '../../engine/autograd.ts';
import type { Decoder } from '../../engine/decoder.ts';
import type { Adapter } from '../../engine/lora.ts';
import { computeLoss, type DatumLoss } from '../../engine/losses.ts';
import { tidy } from '../../engine/scope.ts';
import { tensorOf } from '../../engine/tensor.ts';
import { type ScoredRow, tokenLogprobs } from '../../engine/token-logprobs.ts';
import type { Datum, Loss, PassResult } from '../../types/training-service.ts';
import { formMicroBatches } from './form-micro-batches.ts';

/** One pass over data; without a loss nothing is differentiated. */
export type Pass = {
  readonly decoder: Decoder;
  /** Absent = the base alone. */
  readonly adapter: Adapter | undefined;
  readonly data: readonly Datum[];
  readonly loss?: Loss;
  readonly microBatchTokens: number;
};

/** What became of one datum. */
type DatumResult = {
  /** NaN where the weight is 0: not computed. */
  readonly logprobs: Float32Array;
  readonly loss?: DatumLoss;
  /** Sum over weighted tokens, in nats. */
  readonly entropy?: number;
};

/**
 * Runs the data through the model in micro-batches, one per `next()`; with a loss, gradients add to what was there.
 *
 * @param pass data must have passed `checkData`
 */
export function* runPass(pass: Pass): Generator<void, PassResult> {
  const results: DatumResult[] = [];
  const lengths = pass.data.map(({ input }) => input.length);
  let isFirst = true;
  for (const group of formMicroBatches(lengths, pass.microBatchTokens)) {
    if (!isFirst) yield;
    isFirst = false;
    const groupResults = runMicroBatch(
      pass,
      group.map((row) => pass.data[row] as Datum),
    );
    group.forEach((row, index) => {
      results[row] = groupResults[index] as DatumResult;
    });
  }
  return { logprobs: results.map(({ logprobs }) => logprobs), metrics: sumMetrics(pass, results) };
}

function runMicroBatch(pass: Pass, data: readonly Datum[]): readonly DatumResult[] {
  const isAllMasked = data.every(({ weights }) => weights?.every((weight) => weight === 0));
  if (isAllMasked) return data.map((datum) => maskedResult(datum, pass.loss));
  const score = () => tidy(() => scoreMicroBatch(pass, data));
  return pass.loss === undefined ? noGrad(score) : score();
}

function maskedResult(datum: Datum, loss: Loss | undefined): DatumResult {
  const logprobs = new Float32Array(datum.input.length).fill(Number.NaN);
  return loss === undefined ? { logprobs } : { logprobs, loss: computeLoss(datum, logprobs, loss) };
}

function scoreMicroBatch(pass: Pass, data: readonly Datum[]): readonly DatumResult[] {
  const { loss, adapter } = pass;
  // The entropy of every distribution costs memory of a vocabulary per token, and tells nothing of supervised data.
  const entropy = loss !== undefined && loss.kind !== 'cross_entropy';
  const rows = data.map((datum) => scoredRow(datum, adapter));
  const scored = tokenLogprobs(pass.decoder, rows, { entropy });
  const flat = scored.logprobs.toFloat32Array();
  const flatEntropies = scored.entropies?.toFloat32Array();
  const slopes = new Float32Array(flat.length);
  let start = 0;
  const results = data.map((datum, row) => {
    const positions = scored.positions[row] ?? [];
    const end = start + positions.length;
    const logprobs = new Float32Array(datum.input.length).fill(Number.NaN);
    positions.forEach((position, index) => {
      logprobs[position] = flat[start + index] ?? Number.NaN;
    });
    const result = loss === undefined ? undefined : computeLoss(datum, logprobs, loss);
    positions.forEach((position, index) => {
      slopes[start + index] = result?.slopes[position] ?? 0;
    });
    const sum = flatEntropies?.subarray(start, end).reduce((total, value) => total + value, 0);
    start = end;
    return {
      logprobs,
      ...(result && { loss: result }),
      ...(sum !== undefined && { entropy: sum }),
    };
  });
  if (loss !== undefined) {
    backward(scored.logprobs, tensorOf(slopes, [slopes.length], pass.decoder.device));
  }
  return results;
}

function scoredRow({ input, target, weights }: Datum, adapter: Adapter | undefined): ScoredRow {
  return { input, target, ...(weights && { wanted: weights }), ...(adapter && { adapter }) };
}

/** Sums in the order of the data, so that they do not depend on how micro-batches were formed. */
function sumMetrics(pass: Pass, results: readonly DatumResult[]): Record<string, number> {
  const { loss } = pass;
  if (loss === undefined) {
    const tokens = sumOf(
      results,
      ({ logprobs }) => logprobs.filter((p) => !Number.isNaN(p)).length,
    );
    return { tokens };
  }
  const metrics: Record<string, number> = {
    loss: sumOf(results, (result) => result.loss?.loss ?? 0),
    tokens: sumOf(results, (result) => result.loss?.tokens ?? 0),
  };
  if (loss.kind === 'ppo' || loss.kind === 'cispo') {
    metrics.clippedTokens = sumOf(results, (result) => result.loss?.clippedTokens ?? 0);
  }
  if (loss.kind !== 'cross_entropy') {
    metrics.entropy = sumOf(results, (result) => result.entropy ?? 0);
  }
  if (pass.data.every(({ oldLogprobs }) => oldLogprobs !== undefined)) {
    metrics.kl = sumOf(results, (result) => result.loss?.kl ?? 0);
  }
  return metrics;
}

function sumOf<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
