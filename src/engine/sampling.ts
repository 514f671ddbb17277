import { aten, atenAll } from './aten.ts';
import {
  arange,
  divide,
  gather,
  logSoftmax,
  multiply,
  narrow,
  softmax,
  subtract,
  zerosLike,
} from './ops.ts';
import { type Device, indexTensor, type Tensor, tensorOf, tensorOfBytes } from './tensor.ts';

/** How one row is sampled. */
export type SamplingRule = {
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed: number;
};

/** Rules of a batch as tensors, built once per composition of the batch. */
export type SamplingPlan = {
  readonly rows: number;
  readonly seeds: readonly number[];
  readonly allGreedy: boolean;
  readonly tensors: {
    /** float32 [rows, 1]; 1 for greedy rows. */
    readonly temperature: Tensor;
    /** bool [rows]; absent when no row is greedy. */
    readonly greedy?: Tensor;
    /** int64 [rows, 1] and float32 [rows, 1]; absent when no row filters. */
    readonly topK?: Tensor;
    readonly topP?: Tensor;
  };
};

/** Caller frees the plan's tensors. */
export function planSampling(
  rules: readonly SamplingRule[],
  vocabSize: number,
  device: Device,
): SamplingPlan {
  const rows = rules.length;
  const column = (value: (rule: SamplingRule) => number) =>
    tensorOf(rules.map(value), [rows, 1], device);
  const isGreedy = ({ temperature }: SamplingRule) => temperature === 0;
  const filters = rules.some(({ topK, topP }) => topK !== undefined || topP !== undefined);
  const bits = Uint8Array.from(rules, (rule) => (isGreedy(rule) ? 1 : 0));
  return {
    rows,
    seeds: rules.map(({ seed }) => seed),
    allGreedy: rules.every(isGreedy),
    tensors: {
      temperature: column((rule) => (isGreedy(rule) ? 1 : rule.temperature)),
      ...(rules.some(isGreedy) && {
        greedy: tensorOfBytes(bits, [rows], { dtype: 'bool', device }),
      }),
      ...(filters && {
        topK: indexTensor(
          rules.map(({ topK }) => topK ?? vocabSize),
          [rows, 1],
          device,
        ),
        topP: column(({ topP }) => topP ?? 2),
      }),
    },
  };
}

/** Token per row (int64 [rows, 1]) and its log-probability under the raw distribution (float32 [rows, 1]). */
export type Draw = { readonly tokens: Tensor; readonly logprobs: Tensor };

/**
 * Draws one token per row by inverse cumulative distribution; a row's draw depends on its logits, rule and position only.
 *
 * @param logits float32 [rows, vocabSize]
 * @param positions per row, how many tokens stand before the one that is drawn
 */
export function drawTokens(logits: Tensor, plan: SamplingPlan, positions: readonly number[]): Draw {
  const scores = logSoftmax(logits, -1);
  const tokens = plan.allGreedy
    ? aten('argmax', logits, -1, true)
    : drawByChance(logits, plan, positions);
  return { tokens, logprobs: gather(scores, 1, tokens) };
}

function drawByChance(logits: Tensor, plan: SamplingPlan, positions: readonly number[]): Tensor {
  const { temperature, greedy, topK, topP } = plan.tensors;
  const full = softmax(divide(logits, temperature), -1);
  const weights = topK === undefined || topP === undefined ? full : filterWeights(full, topK, topP);
  const cumulative = aten('cumsum', weights, 1);
  const total = narrow(cumulative, 1, (logits.shape[1] ?? 1) - 1, 1);
  const uniforms = plan.seeds.map((seed, row) => uniformAt(seed, positions[row] ?? 0));
  const threshold = multiply(total, tensorOf(uniforms, [plan.rows, 1], logits.device));
  // The first token whose cumulative weight reaches the threshold; the threshold is above 0 and at most the total, so
  // a token of weight 0 is never drawn and one is always found.
  const drawn = aten('sum.dim_IntList', aten('lt.Tensor', cumulative, threshold), [1], true);
  if (greedy === undefined) return drawn;
  return aten('where.self', aten('unsqueeze', greedy, 1), aten('argmax', logits, -1, true), drawn);
}

/**
 * Weights outside the k largest, and then those beyond the smallest set that holds the share p of what is left, become
 * 0; the others stay as they are.
 */
function filterWeights(weights: Tensor, topK: Tensor, topP: Tensor): Tensor {
  const [sorted, order] = atenAll('sort.stable', weights, true, -1, true) as [Tensor, Tensor];
  const vocabSize = weights.shape[1] ?? 0;
  const ranks = arange(vocabSize, { device: weights.device });
  const largest = multiply(sorted, aten('lt.Tensor', ranks, topK));
  const cumulative = aten('cumsum', largest, 1);
  const limit = multiply(narrow(cumulative, 1, vocabSize - 1, 1), topP);
  const kept = multiply(largest, aten('lt.Tensor', subtract(cumulative, largest), limit));
  return aten('scatter.src', zerosLike(weights), 1, order, kept);
}

/**
 * A number that depends on nothing but its two arguments, in (0, 1], a multiple of 2⁻²⁴ and so exact in float32.
 *
 * @param seed any 32-bit integer
 * @param position index of the drawn token in its sequence
 */
export function uniformAt(seed: number, position: number): number {
  // Finaliser of MurmurHash3 over both, applied twice so that neighbouring seeds and positions do not correlate.
  const mixed = finalise(finalise(seed ^ 0x9e3779b9) ^ Math.imul(position + 1, 0x85ebca6b));
  return ((mixed >>> 8) + 1) / 16777216;
}

function finalise(value: number): number {
  const first = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  const second = Math.imul(first ^ (first >>> 13), 0xc2b2ae35);
  return (second ^ (second >>> 16)) >>> 0;
}
