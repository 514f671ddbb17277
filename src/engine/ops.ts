// The operators this project uses, under plain names. Shapes broadcast as in PyTorch. Caller frees every result.
import { aten, atenAll } from './aten.ts';
import {
  type Device,
  type DType,
  dtypeCode,
  type Placement,
  type Shape,
  type Tensor,
} from './tensor.ts';

type Operand = Tensor | number;

export function zeros(shape: Shape, placement: Placement = {}): Tensor {
  return full(shape, 0, placement);
}

export function full(shape: Shape, value: number, placement: Placement = {}): Tensor {
  const { dtype = 'float32', device = 'cpu' } = placement;
  return aten('full', shape, value, dtypeCode(dtype), undefined, device);
}

/** Whatever the memory holds. */
export function empty(shape: Shape, placement: Placement = {}): Tensor {
  const { dtype = 'float32', device = 'cpu' } = placement;
  return aten('empty.memory_format', shape, dtypeCode(dtype), undefined, device);
}

/** 0, 1, … count − 1. */
export function arange(count: number, placement: Placement = {}): Tensor {
  const { dtype = 'int64', device = 'cpu' } = placement;
  return aten('arange', count, dtypeCode(dtype), undefined, device);
}

export function zerosLike(tensor: Tensor): Tensor {
  return aten('zeros_like', tensor);
}

export function add(left: Tensor, right: Operand): Tensor {
  return typeof right === 'number'
    ? aten('add.Scalar', left, right)
    : aten('add.Tensor', left, right);
}

export function subtract(left: Tensor, right: Operand): Tensor {
  return typeof right === 'number'
    ? aten('sub.Scalar', left, right)
    : aten('sub.Tensor', left, right);
}

export function multiply(left: Tensor, right: Operand): Tensor {
  return typeof right === 'number'
    ? aten('mul.Scalar', left, right)
    : aten('mul.Tensor', left, right);
}

export function divide(left: Tensor, right: Operand): Tensor {
  return typeof right === 'number'
    ? aten('div.Scalar', left, right)
    : aten('div.Tensor', left, right);
}

export function negate(tensor: Tensor): Tensor {
  return aten('neg', tensor);
}

export function exp(tensor: Tensor): Tensor {
  return aten('exp', tensor);
}

/** Sum of all elements, or over `dims`. */
export function sum(tensor: Tensor, dims?: readonly number[], keepDims = false): Tensor {
  return dims === undefined ? aten('sum', tensor) : aten('sum.dim_IntList', tensor, dims, keepDims);
}

/** Batched matrix product over the last two axes. */
export function matmul(left: Tensor, right: Tensor): Tensor {
  return aten('matmul', left, right);
}

/** x·Wᵀ + bias, with W of shape [out, in] as checkpoints store it. */
export function linear(input: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return aten('linear', input, weight, bias ?? null);
}

export function logSoftmax(tensor: Tensor, dim: number): Tensor {
  return aten('log_softmax.int', tensor, dim);
}

export function softmax(tensor: Tensor, dim: number): Tensor {
  return aten('softmax.int', tensor, dim);
}

export function silu(tensor: Tensor): Tensor {
  return aten('silu', tensor);
}

/** Elements of `tensor` along `dim` at the positions `index`, whose shape the result has. */
export function gather(tensor: Tensor, dim: number, index: Tensor): Tensor {
  return aten('gather', tensor, dim, index);
}

/** Whole slices of `tensor` along `dim`; `index` has one axis. */
export function indexSelect(tensor: Tensor, dim: number, index: Tensor): Tensor {
  return aten('index_select', tensor, dim, index);
}

/** Same elements, new shape; one size may be −1. A view where memory allows. */
export function reshape(tensor: Tensor, shape: Shape): Tensor {
  return aten('reshape', tensor, shape);
}

export function transpose(tensor: Tensor, first: number, second: number): Tensor {
  return aten('transpose.int', tensor, first, second);
}

/** `length` slices along `dim`, from `start`; a view. */
export function narrow(tensor: Tensor, dim: number, start: number, length: number): Tensor {
  return aten('narrow', tensor, dim, start, length);
}

export function concat(tensors: readonly Tensor[], dim: number): Tensor {
  return aten('cat', tensors, dim);
}

/** Views of `tensor` along `dim`, of these sizes. */
export function split(tensor: Tensor, sizes: readonly number[], dim: number): readonly Tensor[] {
  return atenAll('split_with_sizes', tensor, sizes, dim);
}

export function unsqueeze(tensor: Tensor, dim: number): Tensor {
  return aten('unsqueeze', tensor, dim);
}

/** A copy in another dtype or on another device; gradients flow through. */
export function convert(
  tensor: Tensor,
  to: { readonly dtype?: DType; readonly device?: Device },
): Tensor {
  const dtype = to.dtype === undefined ? undefined : dtypeCode(to.dtype);
  return aten('_to_copy', tensor, dtype, undefined, to.device);
}

/** Overwrites `target` with `source`, in place. */
export function copyTo(target: Tensor, source: Tensor): Tensor {
  return aten('copy_', target, source);
}
