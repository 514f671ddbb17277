import { aten, hasOperator } from './aten.ts';
import { add, full, matmul, multiply, reshape, softmax, transpose, unsqueeze } from './ops.ts';
import type { Tensor } from './tensor.ts';

/** Which keys a query may see. */
export type Visibility =
  /** Query i of a row sees keys 0…i. */
  | { readonly kind: 'causal' }
  /** In the queries' dtype, broadcast over [rows, heads, queries, keys]: 0 where visible, −∞ where not. */
  | { readonly kind: 'mask'; readonly mask: Tensor };

/** Queries [rows, heads, queries, headDim]; keys and values [rows, keyValueHeads, keys, headDim]. */
export type AttentionInput = {
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
};

let hasFused: boolean | undefined;

/**
 * Scaled dot-product attention; several query heads may share one key head.
 *
 * @returns [rows, heads, queries, headDim]
 */
export function attend(input: AttentionInput, visibility: Visibility): Tensor {
  hasFused ??= hasOperator('scaled_dot_product_attention');
  return hasFused ? attendFused(input, visibility) : attendComposed(input, visibility);
}

function attendFused(input: AttentionInput, visibility: Visibility): Tensor {
  const { query, key, value } = input;
  const mask = visibility.kind === 'mask' ? visibility.mask : null;
  const isCausal = visibility.kind === 'causal';
  const groups = groupsOf(input);
  return aten(
    'scaled_dot_product_attention',
    query,
    repeatHeads(key, groups),
    repeatHeads(value, groups),
    mask,
    0,
    isCausal,
  );
}

/** The same for a libtorch without the fused operator. */
export function attendComposed(input: AttentionInput, visibility: Visibility): Tensor {
  const { query, key, value } = input;
  const groups = groupsOf(input);
  const headDim = query.shape[3] ?? 1;
  const transposed = transpose(repeatHeads(key, groups), 2, 3);
  const scores = matmul(multiply(query, 1 / Math.sqrt(headDim)), transposed);
  const mask = visibility.kind === 'mask' ? visibility.mask : causalMask(scores);
  return matmul(softmax(add(scores, mask), 3), repeatHeads(value, groups));
}

function causalMask(scores: Tensor): Tensor {
  const [, , queries = 0, keys = 0] = scores.shape;
  const placement = { dtype: scores.dtype, device: scores.device };
  return aten('triu', full([queries, keys], Number.NEGATIVE_INFINITY, placement), 1);
}

function groupsOf(input: AttentionInput): number {
  return (input.query.shape[1] ?? 1) / (input.key.shape[1] ?? 1);
}

function repeatHeads(tensor: Tensor, groups: number): Tensor {
  if (groups === 1) return tensor;
  const [rows = 0, heads = 0, keys = 0, headDim = 0] = tensor.shape;
  const expanded = aten('expand', unsqueeze(tensor, 2), [rows, heads, groups, keys, headDim]);
  return reshape(expanded, [rows, heads * groups, keys, headDim]);
}
