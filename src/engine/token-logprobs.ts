import { BoundaryError } from '../errors.ts';
import { backward, noGrad, requiresGrad } from './autograd.ts';
import { runLayersCheckpointed } from './checkpointed-layers.ts';
import { type Decoder, logitsOfNormed, normFinal, type Pass, runLayers } from './decoder.ts';
import {
  type Adapter,
  buildBank,
  type LoraRows,
  loraOfEach,
  loraOfOne,
  rowInBank,
} from './lora.ts';
import {
  add,
  exp,
  gather,
  indexSelect,
  logSoftmax,
  multiply,
  negate,
  reshape,
  sum,
} from './ops.ts';
import { attendPacked, type Packed, packRows, trunkViews } from './pack-rows.ts';
import { tidy } from './scope.ts';
import { indexTensor, type Tensor, tensorOf } from './tensor.ts';
import { tracedChoice } from './traced-pass.ts';
import { type ValueHead, valuesOf } from './value-head.ts';

/** One sequence of a forward pass; entry i of `targets` is what should follow `input[i]`. */
export type ScoredRow = {
  readonly input: Int32Array;
  readonly target: Int32Array;
  /** Positions whose log-probability is not wanted are 0 here; absent = all are wanted. */
  readonly wanted?: ArrayLike<number>;
  /** Absent = the base alone. Rows may use different adapters. */
  readonly adapter?: Adapter;
};

/** How rows are scored. */
export type ScoringOptions = {
  /** `value`: entropies as numbers, without a graph; `gradient`: differentiable. Absent = none. */
  readonly entropy?: 'value' | 'gradient';
  readonly valueHead?: ValueHead;
  /** Keeps every layer's input alone and computes the rest again on the way back. Only for passes with a gradient. */
  readonly isCheckpointed?: boolean;
};

/** ∂loss/∂ each scored number, in the order of the flat entries; absent = 0. */
export type Slopes = {
  readonly logprobs?: Float32Array;
  readonly entropies?: Float32Array;
  readonly values?: Float32Array;
};

export type Scored = {
  /** float32 [wanted positions], rows one after another; absent where only values were asked for. */
  readonly logprobs: Tensor | undefined;
  /** float32 [wanted positions], in nats; only when asked for. */
  readonly entropies: Tensor | undefined;
  /** float32 [wanted positions]; only with a value head. */
  readonly values: Tensor | undefined;
  /** Per row, the positions that the flat entries belong to. */
  readonly positions: readonly (readonly number[])[];
  /** Adds gradients to whatever collects them; once. */
  readonly backward: (slopes: Slopes) => void;
  /** Tensors that `backward` still reads: part of the result so that they live as long. */
  readonly kept: unknown;
};

export type TokenLogprobs = Scored & { readonly logprobs: Tensor };

/** Hidden states at the wanted positions, as heads read them, and the way back from them. */
type Hidden = {
  readonly normed: Tensor;
  readonly positions: readonly (readonly number[])[];
  readonly walkBack: () => void;
  readonly kept: unknown;
};

/**
 * Log-probabilities of targets, differentiable with respect to whatever collects gradients. Rows are packed: there is
 * no padding, and no row sees another; what rows under one adapter begin with in common is computed once.
 *
 * @param rows not empty; rows of equal length share one attention
 * @returns only the wanted positions. Caller frees, best with `tidy` around forward and backward
 */
export function tokenLogprobs(
  decoder: Decoder,
  rows: readonly ScoredRow[],
  options: ScoringOptions = {},
): TokenLogprobs {
  return tidy(() => {
    const { normed, positions, walkBack, kept } = hiddenAt(decoder, rows, options);
    const targets = positions.flatMap((list, row) => list.map((at) => rows[row]?.target[at] ?? 0));
    checkTokens(targets, decoder.config.vocabSize);
    const { logprobs, entropies } = choose(decoder, normed, { targets, entropy: options.entropy });
    const values = options.valueHead && valuesOf(options.valueHead, normed);
    const heads = { logprobs, entropies, values };
    const back = (slopes: Slopes) => backwardFrom(heads, slopes, walkBack);
    return { ...heads, positions, backward: back, kept };
  });
}

/** The value head's predictions alone, without the cost of the vocabulary; else as `tokenLogprobs`. */
export function tokenValues(
  decoder: Decoder,
  rows: readonly ScoredRow[],
  options: ScoringOptions & { readonly valueHead: ValueHead },
): Scored {
  return tidy(() => {
    const { normed, positions, walkBack, kept } = hiddenAt(decoder, rows, options);
    const heads = {
      logprobs: undefined,
      entropies: undefined,
      values: valuesOf(options.valueHead, normed),
    };
    const back = (slopes: Slopes) => backwardFrom(heads, slopes, walkBack);
    return { ...heads, positions, backward: back, kept };
  });
}

function hiddenAt(decoder: Decoder, rows: readonly ScoredRow[], options: ScoringOptions): Hidden {
  const positions = rows.map(wantedPositions);
  checkInputs(decoder, rows);
  const packed = packRows(rows);
  const views = trunkViews(decoder, packed);
  const longest = rows.reduce((most, { input }) => Math.max(most, input.length), 0);
  const index = (values: Int32Array) => indexTensor(values, [values.length], decoder.device);
  const flat = positions.flatMap((list, row) => list.map((at) => packed.indexOf(row, at)));
  const wanted = [...new Set(flat)].sort((left, right) => left - right);
  // Gradients of the base's own weights are sums over all rows in a library's order: others would change their last bits.
  const isPruned = wanted.length < packed.tokens.length && !requiresGrad(decoder.embedding);
  const pass: Pass = {
    tokens: index(packed.tokens),
    rotation: decoder.rotary.at(index(packed.positions), longest),
    lora: loraOfRows(decoder, rows, packed),
    attend: (_, heads) => attendPacked(packed, views, heads),
    ...(isPruned && { wanted: index(Int32Array.from(wanted)) }),
  };
  const checkpointed = options.isCheckpointed ? runLayersCheckpointed(decoder, pass) : undefined;
  const hidden = checkpointed?.hidden ?? runLayers(decoder, pass);
  const selected = selectEach(hidden, flat, isPruned ? wanted : undefined);
  return {
    normed: normFinal(decoder, selected),
    positions,
    walkBack: checkpointed?.backward ?? (() => undefined),
    kept: checkpointed && { pass, views, checkpointed },
  };
}

/** @param present the tokens that `hidden` has rows of, in their order; absent = all */
function selectEach(
  hidden: Tensor,
  tokens: readonly number[],
  present: readonly number[] | undefined,
): Tensor {
  const rowOf = new Map(present?.map((token, row) => [token, row]));
  const rows = tokens.map((token) => rowOf.get(token) ?? token);
  if (rows.length === hidden.shape[0] && rows.every((row, index) => row === index)) return hidden;
  return indexSelect(hidden, 0, indexTensor(rows, [rows.length], hidden.device));
}

/** One backward pass from all heads that have slopes. */
function backwardFrom(
  heads: Readonly<Record<keyof Slopes, Tensor | undefined>>,
  slopes: Slopes,
  walkBack: () => void,
): void {
  tidy(() => {
    const parts = (['logprobs', 'entropies', 'values'] as const).flatMap((name) => {
      const [head, slope] = [heads[name], slopes[name]];
      if (head === undefined || slope === undefined) return [];
      return { head, seed: tensorOf(slope, [slope.length], head.device) };
    });
    const [only, another] = parts;
    if (only === undefined) return;
    if (another === undefined) backward(only.head, only.seed);
    else backward(parts.map(({ head, seed }) => sum(multiply(head, seed))).reduce(add));
    walkBack();
  });
}

function loraOfRows(
  decoder: Decoder,
  rows: readonly ScoredRow[],
  packed: Packed,
): LoraRows | undefined {
  const adapters = [...new Set(rows.flatMap(({ adapter }) => adapter ?? []))];
  if (adapters.length === 0) return undefined;
  const bank = buildBank(decoder.config, adapters, decoder);
  if (adapters.length === 1 && rows.every(({ adapter }) => adapter !== undefined)) {
    return loraOfOne(bank);
  }
  const owners = rows.map(({ adapter }) => rowInBank(bank, adapter));
  const ofTokens = [...packed.owners].map((row) => owners[row] ?? adapters.length);
  return loraOfEach(bank, indexTensor(ofTokens, [ofTokens.length], decoder.device));
}

function wantedPositions({ input, target, wanted }: ScoredRow): number[] {
  if (target.length !== input.length || (wanted !== undefined && wanted.length !== input.length)) {
    throw new BoundaryError(
      'engine',
      `a row has ${input.length} input tokens, ${target.length} targets and ${wanted?.length ?? input.length} weights; expected equally many`,
    );
  }
  const positions: number[] = [];
  for (let at = 0; at < input.length; at++) {
    if (wanted === undefined || wanted[at] !== 0) positions.push(at);
  }
  return positions;
}

function checkInputs(decoder: Decoder, rows: readonly ScoredRow[]): void {
  if (rows.every(({ input }) => input.length === 0)) {
    throw new BoundaryError('engine', 'a forward pass needs at least one token');
  }
  for (const { input } of rows) checkTokens(input, decoder.config.vocabSize);
}

/** @throws BoundaryError("engine") naming the first id outside the vocabulary */
export function checkTokens(tokens: ArrayLike<number>, vocabSize: number): void {
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] ?? -1;
    if (!(token >= 0 && token < vocabSize)) {
      throw new BoundaryError(
        'engine',
        `token id ${token} at position ${at} is outside the vocabulary of ${vocabSize}`,
      );
    }
  }
}

type Choice = { readonly logprobs: Tensor; readonly entropies: Tensor | undefined };

/** Log-probabilities of `targets`, one for each row of `normed`, and entropies where they are asked for. */
function choose(
  decoder: Decoder,
  normed: Tensor,
  {
    targets,
    entropy,
  }: { readonly targets: readonly number[]; readonly entropy: ScoringOptions['entropy'] },
): Choice {
  const logits = logitsOfNormed(decoder, normed);
  const { device } = decoder;
  if (device === 'cpu') {
    const choice = tracedChoice(logits, indexTensor(targets, [targets.length], device));
    return entropy === undefined ? { ...choice, entropies: undefined } : choice;
  }
  const scores = logSoftmax(logits, -1);
  const index = indexTensor(targets, [targets.length, 1], device);
  const logprobs = reshape(gather(scores, 1, index), [targets.length]);
  if (entropy === undefined) return { logprobs, entropies: undefined };
  const entropies = entropy === 'value' ? noGrad(() => entropyOf(scores)) : entropyOf(scores);
  return { logprobs, entropies };
}

function entropyOf(scores: Tensor): Tensor {
  return negate(sum(multiply(exp(scores), scores), [-1]));
}
