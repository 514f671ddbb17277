import { BoundaryError } from '../errors.ts';
import { attend } from './attention.ts';
import { backward, noGrad } from './autograd.ts';
import { runLayersCheckpointed } from './checkpointed-layers.ts';
import {
  type Decoder,
  type LayerHeads,
  logitsOfNormed,
  normFinal,
  type Pass,
  runLayers,
} from './decoder.ts';
import { type Adapter, buildBank, type LoraRows, loraOfEach, loraOfOne } from './lora.ts';
import {
  add,
  concat,
  exp,
  gather,
  indexSelect,
  logSoftmax,
  multiply,
  negate,
  reshape,
  split,
  sum,
  transpose,
} from './ops.ts';
import { tidy } from './scope.ts';
import { indexTensor, type Tensor, tensorOf } from './tensor.ts';
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

/** Rows one after another without padding; consecutive rows of one length are one run. */
type Packed = {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  /** Per row, where it begins. */
  readonly starts: readonly number[];
  readonly runs: readonly { readonly rows: number; readonly length: number }[];
};

/** Hidden states at the wanted positions, as heads read them, and the way back from them. */
type Hidden = {
  readonly normed: Tensor;
  readonly positions: readonly (readonly number[])[];
  readonly walkBack: () => void;
  readonly kept: unknown;
};

/**
 * Log-probabilities of targets, differentiable with respect to whatever collects gradients. Rows are packed: there is
 * no padding, and no row sees another.
 *
 * @param rows not empty; rows of equal length next to one another share one attention
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
    const scores = logSoftmax(logitsOfNormed(decoder, normed), -1);
    const index = indexTensor(targets, [targets.length, 1], decoder.device);
    const logprobs = reshape(gather(scores, 1, index), [targets.length]);
    const entropies = {
      none: () => undefined,
      value: () => noGrad(() => entropyOf(scores)),
      gradient: () => entropyOf(scores),
    }[options.entropy ?? 'none']();
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
  const packed = packRows(decoder, rows);
  const longest = packed.runs.reduce((most, { length }) => Math.max(most, length), 0);
  const index = (values: Int32Array) => indexTensor(values, [values.length], decoder.device);
  const pass: Pass = {
    tokens: index(packed.tokens),
    rotation: decoder.rotary.at(index(packed.positions), longest),
    lora: loraOfRows(decoder, rows),
    attend: (_, heads) => attendPacked(packed, heads),
  };
  const checkpointed = options.isCheckpointed ? runLayersCheckpointed(decoder, pass) : undefined;
  const hidden = checkpointed?.hidden ?? runLayers(decoder, pass);
  const flat = positions.flatMap((list, row) => list.map((at) => (packed.starts[row] ?? 0) + at));
  const selected = indexSelect(hidden, 0, index(Int32Array.from(flat)));
  return {
    normed: normFinal(decoder, selected),
    positions,
    walkBack: checkpointed?.backward ?? (() => undefined),
    kept: checkpointed && { pass, checkpointed },
  };
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

function loraOfRows(decoder: Decoder, rows: readonly ScoredRow[]): LoraRows | undefined {
  const adapters = [...new Set(rows.flatMap(({ adapter }) => adapter ?? []))];
  if (adapters.length === 0) return undefined;
  const bank = buildBank(decoder.config, adapters, decoder);
  if (adapters.length === 1 && rows.every(({ adapter }) => adapter !== undefined)) {
    return loraOfOne(bank);
  }
  const owners = rows.flatMap(({ adapter, input }) => {
    const owner = adapter === undefined ? -1 : adapters.indexOf(adapter);
    return Array<number>(input.length).fill(owner);
  });
  return loraOfEach(bank, owners, decoder);
}

/** Attention in which every token sees itself and what is before it in its row. */
export function attendCausal(
  { rows, length }: { readonly rows: number; readonly length: number },
  heads: LayerHeads,
): Tensor {
  const byRow = (tensor: Tensor): Tensor => {
    const [, count = 0, headDim = 0] = tensor.shape;
    return transpose(reshape(tensor, [rows, length, count, headDim]), 1, 2);
  };
  const input = { query: byRow(heads.query), key: byRow(heads.key), value: byRow(heads.value) };
  const attended = attend(input, { kind: 'causal' });
  return reshape(transpose(attended, 1, 2), [rows * length, -1]);
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

function packRows(decoder: Decoder, rows: readonly ScoredRow[]): Packed {
  const length = rows.reduce((total, { input }) => total + input.length, 0);
  if (length === 0) throw new BoundaryError('engine', 'a forward pass needs at least one token');
  const [tokens, positions] = [new Int32Array(length), new Int32Array(length)];
  const starts: number[] = [];
  const runs: { rows: number; length: number }[] = [];
  let start = 0;
  for (const { input } of rows) {
    checkTokens(input, decoder.config.vocabSize);
    tokens.set(input, start);
    for (let at = 0; at < input.length; at++) positions[start + at] = at;
    starts.push(start);
    start += input.length;
    const run = runs.at(-1);
    if (run?.length === input.length) run.rows += 1;
    else if (input.length > 0) runs.push({ rows: 1, length: input.length });
  }
  return { tokens, positions, starts, runs };
}

/** Attention within every row; one call for each run of rows of one length. */
function attendPacked({ runs }: Packed, heads: LayerHeads): Tensor {
  const [only, another] = runs;
  if (only !== undefined && another === undefined) return attendCausal(only, heads);
  const sizes = runs.map(({ rows, length }) => rows * length);
  const [query, key, value] = [heads.query, heads.key, heads.value].map((part) =>
    split(part, sizes, 0),
  ) as [readonly Tensor[], readonly Tensor[], readonly Tensor[]];
  const parts = runs.map((run, index) => {
    const of = (list: readonly Tensor[]) => list[index] as Tensor;
    return attendCausal(run, { query: of(query), key: of(key), value: of(value) });
  });
  return concat(parts, 0);
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

function entropyOf(scores: Tensor): Tensor {
  return negate(sum(multiply(exp(scores), scores), [-1]));
}
