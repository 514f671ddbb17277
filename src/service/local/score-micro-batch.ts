import type { Decoder } from '../../engine/decoder.ts';
import type { Adapter } from '../../engine/lora.ts';
import { computeLoss } from '../../engine/losses.ts';
import { computePreferenceLoss } from '../../engine/preference-loss.ts';
import { tidy } from '../../engine/scope.ts';
import type { Tensor } from '../../engine/tensor.ts';
import {
  type Scored,
  type ScoredRow,
  type ScoringOptions,
  type Slopes,
  tokenLogprobs,
  tokenValues,
} from '../../engine/token-logprobs.ts';
import type { ValueHead } from '../../engine/value-head.ts';
import { computeLogitLoss, computeValueLoss } from '../../engine/value-loss.ts';
import type { Datum, Loss } from '../../types/training-service.ts';

/** One pass over data; without a loss nothing is differentiated. */
export type Pass = {
  readonly decoder: Decoder;
  /** Absent = the base alone. */
  readonly adapter: Adapter | undefined;
  /** Not absent where the loss is `value`. */
  readonly valueHead: ValueHead | undefined;
  readonly data: readonly Datum[];
  readonly loss?: Loss;
  readonly microBatchTokens: number;
  /** Computes activations again on the way back instead of keeping them. */
  readonly isCheckpointed: boolean;
  /** Called before each micro-batch. */
  readonly onMicroBatch?: () => void;
  /** Told how much the process grew over the forward pass of each micro-batch with a loss. */
  readonly noteActivations?: (bytes: number) => void;
};

/** What became of one datum. */
export type DatumResult = {
  /** NaN where it was not computed: weight 0, or a loss of values alone. */
  readonly logprobs: Float32Array;
  /** NaN where weight is 0; absent without a value head. */
  readonly values?: Float32Array;
  /** By the names of `PassResult.metrics`; empty without a loss. */
  readonly sums: Readonly<Record<string, number>>;
};

/** A scored datum: entry i of every array belongs to target i, NaN where it was not computed. */
type Numbers = {
  readonly datum: Datum;
  readonly logprobs: Float32Array;
  readonly entropies: Float32Array | undefined;
  readonly values: Float32Array | undefined;
};

/** The loss of one datum, with its slopes per target. */
type Outcome = Slopes & { readonly sums: Readonly<Record<string, number>> };

/** The data of `pass` in one forward pass and, with a loss, one backward pass. */
export function scoreMicroBatch(pass: Pass): readonly DatumResult[] {
  if (pass.data.every(({ weights }) => weights?.every((weight) => weight === 0))) {
    return resultsOf(
      pass,
      pass.data.map((datum) => unscored(datum, pass)),
    );
  }
  return tidy(() => {
    const before = pass.loss === undefined ? 0 : process.memoryUsage.rss();
    const scored = score(pass);
    const numbers = numbersOf(pass, scored);
    const outcomes = pass.loss === undefined ? [] : outcomesOf(pass.loss, numbers);
    if (pass.loss !== undefined) {
      pass.noteActivations?.(process.memoryUsage.rss() - before);
      scored.backward({
        ...flatten('logprobs', outcomes, scored),
        ...flatten('entropies', outcomes, scored),
        ...flatten('values', outcomes, scored),
      });
    }
    return resultsOf(pass, numbers, outcomes);
  });
}

function unscored(datum: Datum, { valueHead }: Pass): Numbers {
  const none = new Float32Array(datum.input.length).fill(Number.NaN);
  return { datum, logprobs: none, entropies: none, values: valueHead && none };
}

function score(pass: Pass): Scored {
  const { decoder, adapter, valueHead, loss } = pass;
  const rows = pass.data.map(
    ({ input, target, weights }): ScoredRow => ({
      ...{ input, target },
      ...(weights && { wanted: weights }),
      ...(adapter && { adapter }),
    }),
  );
  const isCheckpointed = pass.isCheckpointed && loss !== undefined;
  const entropy = loss === undefined ? undefined : entropyFor(loss);
  const options: ScoringOptions = { isCheckpointed, ...(entropy && { entropy }) };
  return loss?.kind === 'value' && valueHead !== undefined
    ? tokenValues(decoder, rows, { ...options, valueHead })
    : tokenLogprobs(decoder, rows, { ...options, ...(valueHead && { valueHead }) });
}

/** The entropy of every distribution costs memory of a vocabulary per token, and tells nothing of supervised data. */
function entropyFor(loss: Loss): ScoringOptions['entropy'] {
  if ('entropyCoefficient' in loss && (loss.entropyCoefficient ?? 0) !== 0) return 'gradient';
  const isSampled = !['cross_entropy', 'dpo', 'value'].includes(loss.kind);
  return isSampled ? 'value' : undefined;
}

function numbersOf({ data }: Pass, scored: Scored): readonly Numbers[] {
  const read = (tensor: Tensor | undefined) => tensor?.toFloat32Array();
  const flat = {
    logprobs: read(scored.logprobs),
    entropies: read(scored.entropies),
    values: read(scored.values),
  };
  let start = 0;
  return data.map((datum, row) => {
    const positions = scored.positions[row] ?? [];
    const first = start;
    start += positions.length;
    const spread = (from: Float32Array | undefined): Float32Array => {
      const array = new Float32Array(datum.input.length).fill(Number.NaN);
      positions.forEach((position, index) => {
        array[position] = from?.[first + index] ?? Number.NaN;
      });
      return array;
    };
    const { logprobs, entropies, values } = flat;
    return {
      datum,
      logprobs: spread(logprobs),
      entropies: entropies && spread(entropies),
      values: values && spread(values),
    };
  });
}

function outcomesOf(loss: Loss, numbers: readonly Numbers[]): readonly Outcome[] {
  switch (loss.kind) {
    case 'value':
      return numbers.map(({ datum, values = new Float32Array() }) => {
        const result = loss.isLogit
          ? computeLogitLoss(datum, values)
          : computeValueLoss(datum, values, loss.clip);
        const { valueSlopes, tokens, sums } = result;
        return { values: valueSlopes, sums: { loss: result.loss, tokens, ...sums } };
      });
    case 'dpo':
      return Array.from({ length: numbers.length / 2 }, (_, pair) =>
        computePreferenceLoss(
          numbers[2 * pair] as Numbers,
          numbers[2 * pair + 1] as Numbers,
          loss,
        ).map(({ loss: value, slopes, tokens, sums }) => ({
          logprobs: slopes,
          sums: { loss: value, tokens, ...sums },
        })),
      ).flat();
    default:
      return numbers.map((each) => {
        const result = computeLoss(each.datum, withoutAbsent(each), loss);
        const { slopes, entropySlopes, tokens, sums } = result;
        return {
          logprobs: slopes,
          ...(entropySlopes && { entropies: entropySlopes }),
          sums: { loss: result.loss, tokens, ...entropySum(each), ...sums },
        };
      });
  }
}

function withoutAbsent({ logprobs, entropies }: Numbers): {
  readonly logprobs: Float32Array;
  readonly entropies?: Float32Array;
} {
  return { logprobs, ...(entropies && { entropies }) };
}

/** Over weighted tokens, in nats. */
function entropySum({ entropies }: Numbers): { readonly entropy?: number } {
  if (entropies === undefined) return {};
  return { entropy: entropies.reduce((sum, each) => sum + (Number.isNaN(each) ? 0 : each), 0) };
}

/** The slopes of one head in the order of its flat entries; nothing where no datum has any. */
function flatten(head: keyof Slopes, outcomes: readonly Outcome[], { positions }: Scored): Slopes {
  if (outcomes.every((outcome) => outcome[head] === undefined)) return {};
  const flat = outcomes.flatMap((outcome, row) =>
    (positions[row] ?? []).map((position) => outcome[head]?.[position] ?? 0),
  );
  return { [head]: Float32Array.from(flat) };
}

function resultsOf(
  { loss }: Pass,
  numbers: readonly Numbers[],
  outcomes = loss === undefined ? [] : outcomesOf(loss, numbers),
): readonly DatumResult[] {
  return numbers.map(({ logprobs, values }, row) => ({
    logprobs,
    ...(values && { values }),
    sums: outcomes[row]?.sums ?? {},
  }));
}
