// The parts of a pass with gradients that the addon has in one piece (native/traced-pass.h); autograd records them.
import { callNative } from './native.ts';
import type { Rotation } from './rotary.ts';
import { Tensor } from './tensor.ts';

/**
 * x / √(mean(x²) + eps) · gain over the last axis.
 *
 * @param input float32 on the CPU, [rows, width]; width a multiple of 8
 */
export function tracedNorm(input: Tensor, gain: Tensor, eps: number): Tensor {
  return new Tensor(callNative('tracedNorm', input.handle, gain.handle, eps));
}

/** silu(gate) · up of `gateUp` [rows, 2 · width], float32 on the CPU; width a multiple of 8. */
export function tracedGate(gateUp: Tensor): Tensor {
  return new Tensor(callNative('tracedGate', gateUp.handle));
}

/** How queries, keys and values lie side by side in one row, and what is done to them. */
export type HeadsPlan = {
  readonly heads: number;
  readonly keyValueHeads: number;
  /** [2 · headDim], of queries, then of keys; absent = heads without a norm. */
  readonly gains: Tensor | undefined;
  readonly eps: number;
};

/**
 * Norms and rotates queries and keys.
 *
 * @param qkv float32 on the CPU, [rows, (heads + 2 · keyValueHeads) · headDim]; headDim a multiple of 8
 * @returns query, key and value, each [rows, heads, headDim]: keys and values stand once for each query that sees them
 */
export function tracedHeads(
  qkv: Tensor,
  rotation: Rotation,
  plan: HeadsPlan,
): readonly [query: Tensor, key: Tensor, value: Tensor] {
  const { cos, sin } = rotation;
  const [query, key, value] = callNative(
    'tracedHeads',
    ...([qkv.handle, plan.gains?.handle ?? 0, cos.handle, sin.handle] as const),
    ...([plan.eps, plan.heads, plan.keyValueHeads] as const),
  );
  return [new Tensor(query), new Tensor(key), new Tensor(value)];
}

/**
 * Log-probability of each row's target and entropy of its distribution in nats, [rows] each. The way back writes the
 * gradients over the logits, which saves a matrix of their size: nothing else may read them afterwards.
 *
 * @param logits float32 on the CPU, [rows, vocabSize]
 * @param targets int64 [rows]
 */
export function tracedChoice(
  logits: Tensor,
  targets: Tensor,
): { readonly logprobs: Tensor; readonly entropies: Tensor } {
  const [logprobs, entropies] = callNative('tracedChoice', logits.handle, targets.handle);
  return { logprobs: new Tensor(logprobs), entropies: new Tensor(entropies) };
}

/**
 * added + input · weightᵀ + factors · (input · aᵀ) · b, of any dtype on any device: the parts of the input's gradient add up
 * where the first stands.
 *
 * @param base.added a residual [rows, outputs], or a bias [outputs]
 * @param lora.factors one number, or [rows, rank]: what the inner columns are multiplied by
 * @param lora.places int64 [rows], ascending, where the rows were chosen out of more: with the kernels, gradients of `a` and
 *   `b` then have the bits that they have when the others are there and count for nothing
 */
export function loraLinear(
  base: { readonly input: Tensor; readonly weight: Tensor; readonly added: Tensor | undefined },
  lora: {
    readonly a: Tensor;
    readonly b: Tensor;
    readonly factors: number | Tensor;
    readonly places: Tensor | undefined;
  },
): Tensor {
  const { input, weight, added } = base;
  const { a, b, factors, places } = lora;
  const [each, scale] = typeof factors === 'number' ? [0, factors] : [factors.handle, 1];
  return new Tensor(
    callNative(
      'loraLinear',
      ...([input.handle, weight.handle, added?.handle ?? 0] as const),
      ...([a.handle, b.handle, each, places?.handle ?? 0, scale] as const),
    ),
  );
}
