import type { Adam } from '../types/training-service.ts';
import { aten, atenAll, hasOperator } from './aten.ts';
import { full, narrow } from './ops.ts';
import type { Tensor } from './tensor.ts';

/** A float32 parameter with its gradient and its moments; all but the gradient are written in place. */
export type Moved = {
  readonly parameter: Tensor;
  readonly grad: Tensor;
  readonly mean: Tensor;
  readonly square: Tensor;
};

/** An update of all parameters; `step` counts from 1. */
type Update = (moved: readonly Moved[], adam: Adam, step: number) => void;

let hasFused: boolean | undefined;

/** Moves parameters against their gradients, with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2). */
export const updateAdamW: Update = (moved, adam, step) => {
  hasFused ??= hasOperator('_fused_adamw_');
  (hasFused ? updateFused : updateComposed)(moved, adam, step);
};

/** One sweep over memory for each parameter, where libtorch has it: on the CPU since 2.4. */
export const updateFused: Update = (moved, adam, step) => {
  const { learningRate, beta1, beta2, weightDecay, eps } = adam;
  const list = (name: keyof Moved) => moved.map((each) => each[name]);
  const steps = moved.map(({ parameter: { device } }) => full([], step, { device }));
  atenAll(
    '_fused_adamw_',
    ...[list('parameter'), list('grad'), list('mean'), list('square'), [], steps],
    ...[learningRate, beta1, beta2, weightDecay, eps],
    ...[false, false],
  );
  // The fused operator does not count as a write; what was computed with the old weights must not pass for new. A view of
  // nothing is written to: its writes are those of the whole.
  for (const { parameter } of moved) aten('zero_', narrow(parameter, 0, 0, 0));
};

/** The same for a libtorch without the fused operator. */
export const updateComposed: Update = (moved, adam, step) => {
  const correction1 = 1 - adam.beta1 ** step;
  const correction2 = 1 - adam.beta2 ** step;
  for (const { parameter, grad, mean, square } of moved) {
    if (adam.weightDecay !== 0) {
      aten('mul_.Scalar', parameter, 1 - adam.learningRate * adam.weightDecay);
    }
    aten('lerp_.Scalar', mean, grad, 1 - adam.beta1);
    aten('addcmul_', aten('mul_.Scalar', square, adam.beta2), grad, grad, 1 - adam.beta2);
    const root = aten('div.Scalar', aten('sqrt', square), Math.sqrt(correction2));
    const denominator = aten('add_.Scalar', root, adam.eps);
    aten('addcdiv_', parameter, mean, denominator, -adam.learningRate / correction1);
  }
};
