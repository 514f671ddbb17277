import { BoundaryError } from '../errors.ts';
import { attend } from './attention.ts';
import { type Decoder, type LayerHeads, logitsOf, runLayers } from './decoder.ts';
import { type Adapter, buildBank, type LoraRows, loraOfEach, loraOfOne } from './lora.ts';
import {
  exp,
  gather,
  indexSelect,
  logSoftmax,
  multiply,
  negate,
  reshape,
  sum,
  transpose,
} from './ops.ts';
import { tidy } from './scope.ts';
import { indexTensor, type Tensor } from './tensor.ts';

/** One sequence of a forward pass; entry i of `targets` is what should follow `input[i]`. */
export type ScoredRow = {
  readonly input: Int32Array;
  readonly target: Int32Array;
  /** Positions whose log-probability is not wanted are 0 here; absent = all are wanted. */
  readonly wanted?: ArrayLike<number>;
  /** Absent = the base alone. Rows may use different adapters. */
  readonly adapter?: Adapter;
};

export type TokenLogprobs = {
  /** float32 [wanted positions], rows one after another. */
  readonly logprobs: Tensor;
  /** float32 [wanted positions], in nats; only when asked for. */
  readonly entropies: Tensor | undefined;
  /** Per row, the positions that the flat entries belong to. */
  readonly positions: readonly (readonly number[])[];
};

/** Rows padded on the right to one length; what is padded is never looked at by what is not. */
type Padded = { readonly rows: number; readonly length: number; readonly tokens: Tensor };

/**
 * Log-probabilities of targets, differentiable with respect to whatever collects gradients.
 *
 * @param rows not empty; rows of similar length waste least
 * @returns only the wanted positions. Caller frees, best with `tidy` around forward and backward
 */
export function tokenLogprobs(
  decoder: Decoder,
  rows: readonly ScoredRow[],
  options: { readonly entropy?: boolean } = {},
): TokenLogprobs {
  const positions = rows.map(wantedPositions);
  return tidy(() => {
    const padded = padRows(decoder, rows);
    const hidden = runLayers(decoder, {
      tokens: padded.tokens,
      rotation: decoder.rotary.at(rowPositions(decoder, padded), padded.length),
      lora: loraOfRows(decoder, rows, padded.length),
      attend: (_, heads) => attendCausal(padded, heads),
    });
    const flat = positions.flatMap((list, row) => list.map((at) => row * padded.length + at));
    const targets = positions.flatMap((list, row) => list.map((at) => rows[row]?.target[at] ?? 0));
    checkTokens(targets, decoder.config.vocabSize);
    const selected = indexSelect(hidden, 0, indexTensor(flat, [flat.length], decoder.device));
    const scores = logSoftmax(logitsOf(decoder, selected), -1);
    const index = indexTensor(targets, [targets.length, 1], decoder.device);
    const logprobs = reshape(gather(scores, 1, index), [targets.length]);
    const entropies = options.entropy === true ? entropyOf(scores) : undefined;
    return { logprobs, entropies, positions };
  });
}

function loraOfRows(
  decoder: Decoder,
  rows: readonly ScoredRow[],
  length: number,
): LoraRows | undefined {
  const adapters = [...new Set(rows.flatMap(({ adapter }) => adapter ?? []))];
  if (adapters.length === 0) return undefined;
  const bank = buildBank(decoder.config, adapters, decoder);
  if (adapters.length === 1 && rows.every(({ adapter }) => adapter !== undefined)) {
    return loraOfOne(bank);
  }
  const owners = rows.flatMap(({ adapter }) => {
    const owner = adapter === undefined ? -1 : adapters.indexOf(adapter);
    return Array<number>(length).fill(owner);
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

function padRows(decoder: Decoder, rows: readonly ScoredRow[]): Padded {
  const length = rows.reduce((longest, row) => Math.max(longest, row.input.length), 0);
  if (length === 0) throw new BoundaryError('engine', 'a forward pass needs at least one token');
  const tokens = new Int32Array(rows.length * length);
  for (const [row, { input }] of rows.entries()) {
    checkTokens(input, decoder.config.vocabSize);
    tokens.set(input, row * length);
  }
  return {
    rows: rows.length,
    length,
    tokens: indexTensor(tokens, [tokens.length], decoder.device),
  };
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

function rowPositions(decoder: Decoder, { rows, length }: Padded): Tensor {
  const positions = Int32Array.from({ length: rows * length }, (_, at) => at % length);
  return indexTensor(positions, [positions.length], decoder.device);
}

function entropyOf(scores: Tensor): Tensor {
  return negate(sum(multiply(exp(scores), scores), [-1]));
}
