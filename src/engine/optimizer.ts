import { BoundaryError } from '../errors.ts';
import type { Adam } from '../types/training-service.ts';
import { updateAdamW } from './adamw-update.ts';
import { aten, atenAll } from './aten.ts';
import { gradOf, noGrad, setGrad } from './autograd.ts';
import { convert, copyTo, zeros } from './ops.ts';
import { keep, tidy } from './scope.ts';
import type { Tensor } from './tensor.ts';

/** First and second moment of one parameter, float32. */
type Moments = {
  readonly mean: Tensor;
  readonly square: Tensor;
  /** The parameter in float32, where its own type is another: steps smaller than its rounding must add up. */
  readonly master: Tensor | undefined;
};

/**
 * What must be stored to continue: `mean.<name>` and `square.<name>` per parameter, `master.<name>` of those that are not
 * float32, and the finished steps.
 */
export type OptimizerState = {
  readonly step: number;
  readonly tensors: ReadonlyMap<string, Tensor>;
};

/**
 * AdamW with decoupled weight decay and clipping to a global norm.
 *
 * @see Loshchilov & Hutter 2019, arXiv:1711.05101; equal to torch.optim.AdamW after torch.nn.utils.clip_grad_norm_
 */
export class AdamW {
  readonly #parameters: ReadonlyMap<string, Tensor>;
  readonly #moments: ReadonlyMap<string, Moments>;
  /** Of parameters that are not float32: what `collect` took of their gradients, in float32. */
  readonly #sums = new Map<string, Tensor>();
  #step = 0;

  /** @param parameters name → leaf tensor that collects gradients; stays the caller's */
  constructor(parameters: ReadonlyMap<string, Tensor>) {
    // By name, not as they came: floating-point sums depend on their order, and an adapter that was loaded has another
    // order than one that was created. A resumed run must see the same norm to the last bit.
    this.#parameters = new Map([...parameters].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.#moments = new Map(
      [...this.#parameters].map(([name, tensor]) => [name, noGrad(() => createMoments(tensor))]),
    );
  }

  /**
   * Moves the parameters against their gradients, then forgets the gradients. A parameter without a gradient stays.
   *
   * @returns the global L2 norm of the gradients before clipping; 0 when there are none
   * @throws BoundaryError("engine") when the norm is not finite; then nothing has moved
   */
  step(adam: Adam): { readonly gradNorm: number } {
    return noGrad(() =>
      tidy(() => {
        const grads = this.#gradients();
        if (grads.size === 0) return { gradNorm: 0 };
        const gradNorm = globalNorm([...grads.values()]);
        if (!Number.isFinite(gradNorm)) {
          throw new BoundaryError(
            'engine',
            `the gradient's norm is ${gradNorm} at optimiser step ${this.#step + 1}: the step is not taken`,
          );
        }
        clip([...grads.values()], gradNorm, adam.maxGradNorm);
        this.#step++;
        this.#update(grads, adam);
        this.zeroGrad();
        return { gradNorm };
      }),
    );
  }

  /**
   * Takes gradients that are not float32 over into sums that are. Call it between passes whose gradients add up: in half
   * precision a small one vanishes beside the sum of those before.
   */
  collect(): void {
    for (const [name, tensor] of this.#parameters) {
      if (tensor.dtype !== 'float32') noGrad(() => tidy(() => this.#collectOf(name, tensor)));
    }
  }

  #collectOf(name: string, tensor: Tensor): void {
    const grad = gradOf(tensor);
    if (grad === undefined) return;
    const sum = this.#sums.get(name);
    if (sum === undefined) this.#sums.set(name, keep(convert(grad, { dtype: 'float32' })));
    else aten('add_.Tensor', sum, grad);
    setGrad(tensor);
  }

  /** Forgets the gradients. */
  zeroGrad(): void {
    for (const tensor of this.#parameters.values()) setGrad(tensor);
    for (const sum of this.#sums.values()) sum.dispose();
    this.#sums.clear();
  }

  /** The state itself, not a copy. */
  state(): OptimizerState {
    const tensors = new Map<string, Tensor>();
    for (const [name, { mean, square, master }] of this.#moments) {
      tensors.set(`mean.${name}`, mean);
      tensors.set(`square.${name}`, square);
      if (master !== undefined) tensors.set(`master.${name}`, master);
    }
    return { step: this.#step, tensors };
  }

  /**
   * Continues from a stored state; copies its tensors.
   *
   * @throws BoundaryError("engine") naming a tensor that is missing
   */
  load(state: OptimizerState): void {
    for (const [name, own] of this.state().tensors) {
      const stored = state.tensors.get(name);
      if (stored === undefined) {
        throw new BoundaryError('engine', `the optimiser state has no tensor named ${name}`);
      }
      noGrad(() => aten('copy_', own, stored));
    }
    this.#step = state.step;
  }

  /** Frees the state; the parameters stay the caller's. */
  dispose(): void {
    for (const sum of this.#sums.values()) sum.dispose();
    for (const { mean, square, master } of this.#moments.values()) {
      mean.dispose();
      square.dispose();
      master?.dispose();
    }
  }

  #gradients(): ReadonlyMap<string, Tensor> {
    this.collect();
    const grads = new Map<string, Tensor>();
    for (const [name, tensor] of this.#parameters) {
      const grad = this.#sums.get(name) ?? gradOf(tensor);
      if (grad !== undefined) grads.set(name, grad);
    }
    return grads;
  }

  #update(grads: ReadonlyMap<string, Tensor>, adam: Adam): void {
    const moved = [...grads].map(([name, grad]) => {
      const { mean, square, master } = this.#moments.get(name) as Moments;
      const own = this.#parameters.get(name) as Tensor;
      return { own, master, parameter: master ?? own, grad, mean, square };
    });
    updateAdamW(moved, adam, this.#step);
    for (const { own, master } of moved) if (master !== undefined) copyTo(own, master);
  }
}

function createMoments(tensor: Tensor): Moments {
  const zero = () => keep(zeros(tensor.shape, { device: tensor.device }));
  const isExact = tensor.dtype === 'float32';
  const master = isExact ? undefined : keep(convert(tensor, { dtype: 'float32' }));
  return { mean: zero(), square: zero(), master };
}

function globalNorm(grads: readonly Tensor[]): number {
  const norms = atenAll('_foreach_norm.Scalar', grads, 2);
  return Math.sqrt(norms.reduce((sum, norm) => sum + norm.item() ** 2, 0));
}

/** In place, as torch.nn.utils.clip_grad_norm_: the factor never exceeds 1. */
function clip(grads: readonly Tensor[], norm: number, maxNorm: number | undefined): void {
  if (maxNorm === undefined) return;
  const factor = maxNorm / (norm + 1e-6);
  if (factor >= 1) return;
  for (const grad of grads) aten('mul_.Scalar', grad, factor);
}
