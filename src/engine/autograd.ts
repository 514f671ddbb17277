import { callNative } from './native.ts';
import { Tensor } from './tensor.ts';

/** Runs `body` without recording operations for `backward`. */
export function noGrad<Result>(body: () => Result): Result {
  const before = callNative('setGradMode', false);
  try {
    return body();
  } finally {
    callNative('setGradMode', before);
  }
}

/** Makes a leaf tensor collect gradients (or stop doing so). Returns the same tensor. */
export function requireGrad(tensor: Tensor, required = true): Tensor {
  callNative('setRequiresGrad', tensor.handle, required);
  return tensor;
}

export function requiresGrad(tensor: Tensor): boolean {
  return callNative('requiresGrad', tensor.handle);
}

/**
 * Adds the gradient of `output` to every leaf it depends on.
 *
 * @param seed gradient of `output` itself, of its shape; absent = 1, for an output with one element
 */
export function backward(output: Tensor, seed?: Tensor): void {
  callNative('backward', output.handle, seed === undefined ? 0 : seed.handle);
}

/** The gradient collected so far, sharing memory with the original; undefined when there is none. Caller frees. */
export function gradOf(tensor: Tensor): Tensor | undefined {
  const handle = callNative('grad', tensor.handle);
  return handle === 0 ? undefined : new Tensor(handle);
}

/** Replaces the collected gradient; undefined forgets it. */
export function setGrad(tensor: Tensor, grad?: Tensor): void {
  callNative('setGrad', tensor.handle, grad === undefined ? 0 : grad.handle);
}
