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
  /** Tokens less probable than this times the most probable one are left out. */
  readonly minP?: number;
  readonly seed: number;
};

/** Whether a rule samples from something else than the raw distribution, and by chance. */
export function isShaped({ temperature, topK, topP, minP }: SamplingRule): boolean {
  const hasFilter = topK !== undefined || topP !== undefined || minP !== undefined;
  return temperature !== 0 && (temperature !== 1 || hasFilter);
}

/** Rules of a batch as tensors, built once per composition of the batch. */
export type SamplingPlan = {
  readonly rows: number;
  readonly seeds: readonly number[];
  readonly allGreedy: boolean;
  /** Whether any row samples from another distribution than the raw one. */
  readonly someShaped: boolean;
  readonly tensors: {
    /** float32 [rows, 1]; 1 for greedy rows. */
    readonly temperature: Tensor;
    /** bool [rows]; absent when no row is greedy. */
    readonly greedy?: Tensor;
    /** int64 [rows, 1] and float32 [rows, 1]; absent when no row filters. */
    readonly topK?: Tensor;
    readonly topP?: Tensor;
    /** float32 [rows, 1]; absent when no row has a minP. */
    readonly minP?: Tensor;
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
    someShaped: rules.some(isShaped),
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
      ...(rules.some(({ minP }) => minP !== undefined) && {
        minP: column(({ minP }) => minP ?? 0),
      }),
    },
  };
}

/** One token per row. */
export type Draw = {
  /** int64 [rows, 1] */
  readonly tokens: Tensor;
  /** float32 [rows, 1]: under the raw distribution. */
  readonly logprobs: Tensor;
  /** float32 [rows, 1]: under the distribution that was sampled, where a row has another; of no meaning for greedy rows. */
  readonly behaviour?: Tensor;
};

/**
 * Draws one token per row by inverse cumulative distribution; a row's draw depends on its logits, rule and position only.
 *
 * @param logits float32 [rows, vocabSize]
 * @param positions per row, how many tokens stand before the one that is drawn
 */
export function drawTokens(logits: Tensor, plan: SamplingPlan, positions: readonly number[]): Draw {
  const scores = logSoftmax(logits, -1);
  if (plan.allGreedy) {
    const tokens = aten('argmax', logits, -1, true);
    return { tokens, logprobs: gather(scores, 1, tokens) };
  }
  const { tokens, weights, total } = drawByChance(logits, plan, positions);
  const logprobs = gather(scores, 1, tokens);
  if (!plan.someShaped) return { tokens, logprobs };
  const behaviour = aten('log', divide(gather(weights, 1, tokens), total));
  return { tokens, logprobs, behaviour };
}

/** The tokens, and the weights (not normalised, their sum is `total`) that they were drawn by. */
function drawByChance(
  logits: Tensor,
  plan: SamplingPlan,
  positions: readonly number[],
): { readonly tokens: Tensor; readonly weights: Tensor; readonly total: Tensor } {
  const { temperature, greedy } = plan.tensors;
  const weights = filterWeights(softmax(divide(logits, temperature), -1), plan);
  const cumulative = aten('cumsum', weights, 1);
  const total = narrow(cumulative, 1, (logits.shape[1] ?? 1) - 1, 1);
  const uniforms = plan.seeds.map((seed, row) => uniformAt(seed, positions[row] ?? 0));
  const threshold = multiply(total, tensorOf(uniforms, [plan.rows, 1], logits.device));
  // The first token whose cumulative weight reaches the threshold; the threshold is above 0 and at most the total, so
  // a token of weight 0 is never drawn and one is always found.
  const drawn = aten('sum.dim_IntList', aten('lt.Tensor', cumulative, threshold), [1], true);
  if (greedy === undefined) return { tokens: drawn, weights, total };
  const likeliest = aten('argmax', logits, -1, true);
  const tokens = aten('where.self', aten('unsqueeze', greedy, 1), likeliest, drawn);
  return { tokens, weights, total };
}

/** The weights with 0 for what top-k, then top-p, then min-p leave out; the others stay as they are. */
function filterWeights(weights: Tensor, { tensors }: SamplingPlan): Tensor {
  const { topK, topP, minP } = tensors;
  const largest =
    topK === undefined || topP === undefined ? weights : keepLargest(weights, topK, topP);
  if (minP === undefined) return largest;
  const least = multiply(aten('amax', largest, [1], true), minP);
  return multiply(largest, aten('ge.Tensor', largest, least));
}

/**
 * Weights outside the k largest, and then those beyond the smallest set that holds the share p of what is left, become
 * 0; the others stay as they are.
 */
function keepLargest(weights: Tensor, topK: Tensor, topP: Tensor): Tensor {
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
