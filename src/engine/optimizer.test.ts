import { expect, it } from 'vitest';
import type { Adam } from '../types/training-service.ts';
import { updateComposed, updateFused } from './adamw-update.ts';
import { hasOperator } from './aten.ts';
import { requireGrad, setGrad } from './autograd.ts';
import { convert } from './ops.ts';
import { AdamW } from './optimizer.ts';
import { keep, tidy } from './scope.ts';
import { liveTensors, type Tensor, tensorOf } from './tensor.ts';

const adam: Adam = {
  learningRate: 0.1,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
};

const grads = [
  { p: [1, 2, -3], q: [0.5, 0.1] },
  { p: [0.1, -0.2, 0.3], q: [-0.5, 0.2] },
  { p: [4, 0, 1], q: [1, 1] },
];

// Written by torch 2.13.0: torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1) after
// clip_grad_norm_(…, 1.0), starting from p = [1, −2, 0.5] and q = [[0.3], [−0.1]]. The second norm is below 1.
const expected = [
  { norm: 3.7762418, p: [0.89, -2.07999992, 0.59500003], q: [0.19700003, -0.19899996] },
  { norm: 0.6557438, p: [0.79126692, -2.09592962, 0.62577963], q: [0.24923319, -0.27858767] },
  { norm: 4.3588991, p: [0.70372242, -2.10372949, 0.63019556], q: [0.25951051, -0.36468804] },
];

function parameters(): Map<string, Tensor> {
  return new Map([
    ['p', keep(requireGrad(tensorOf([1, -2, 0.5], [3])))],
    ['q', keep(requireGrad(tensorOf([0.3, -0.1], [2, 1])))],
  ]);
}

function give(tensors: ReadonlyMap<string, Tensor>, index: number): void {
  tidy(() => {
    for (const [name, tensor] of tensors) {
      setGrad(tensor, tensorOf(grads[index]?.[name as 'p' | 'q'] ?? [], tensor.shape));
    }
  });
}

function expectClose(actual: ArrayLike<number> | undefined, wanted: readonly number[]): void {
  expect(actual?.length).toBe(wanted.length);
  for (const [index, value] of wanted.entries()) {
    expect(Math.abs((actual?.[index] ?? Number.NaN) - value)).toBeLessThan(1e-6);
  }
}

it('moves parameters as torch.optim.AdamW does, clipped to a global norm', () => {
  const before = liveTensors();
  const tensors = parameters();
  const optimizer = new AdamW(tensors);
  for (const [index, wanted] of expected.entries()) {
    give(tensors, index);
    expectClose([optimizer.step(adam).gradNorm], [wanted.norm]);
    expectClose(tensors.get('p')?.toFloat32Array(), wanted.p);
    expectClose(tensors.get('q')?.toFloat32Array(), wanted.q);
  }
  optimizer.dispose();
  for (const tensor of tensors.values()) tensor.dispose();
  expect(liveTensors()).toBe(before);
});

it('adds gradients in half precision up in float32, so that small ones do not vanish', () => {
  const before = liveTensors();
  const tensor = keep(requireGrad(tidy(() => convert(tensorOf([0], [1]), { dtype: 'bfloat16' }))));
  const optimizer = new AdamW(new Map([['p', tensor]]));
  // Beside 1, bfloat16 knows nothing below 2⁻⁸.
  for (const grad of [1, ...Array<number>(256).fill(2 ** -9)]) {
    tidy(() => setGrad(tensor, convert(tensorOf([grad], [1]), { dtype: 'bfloat16' })));
    optimizer.collect();
  }
  expect(optimizer.step({ ...adam, maxGradNorm: 1 }).gradNorm).toBe(1.5);
  expect(optimizer.step(adam).gradNorm).toBe(0);
  optimizer.dispose();
  tensor.dispose();
  expect(liveTensors()).toBe(before);
});

it.skipIf(!hasOperator('_fused_adamw_'))(
  'moves by libtorch’s own operator as by the composed one, to the last bits',
  () => {
    tidy(() => {
      const values = Float32Array.from({ length: 1000 }, (_, at) => Math.sin(at) + 2);
      const made = (scale: number) =>
        tensorOf(
          values.map((value) => scale * value),
          [1000],
        );
      const create = () => ({
        ...{ parameter: made(-3), mean: made(0.1), square: made(0.2), grad: made(0.7) },
      });
      const [fused, composed] = [create(), create()];
      for (const step of [1, 2, 3]) {
        updateFused([fused], adam, step);
        updateComposed([composed], adam, step);
      }
      for (const name of ['parameter', 'mean', 'square'] as const) {
        expectClose(fused[name].toFloat32Array(), [...composed[name].toFloat32Array()]);
        expect(fused[name].toFloat32Array()).not.toEqual(create()[name].toFloat32Array());
      }
    });
  },
);

it('continues from a stored state as if it had never stopped', () => {
  const tensors = parameters();
  const first = new AdamW(tensors);
  give(tensors, 0);
  first.step(adam);
  const second = new AdamW(tensors);
  second.load(first.state());
  give(tensors, 1);
  second.step(adam);
  expectClose(tensors.get('p')?.toFloat32Array(), expected[1]?.p ?? []);
  expect(second.state().step).toBe(2);
  expect(() => second.load({ step: 1, tensors: new Map() })).toThrow('no tensor named mean.p');
});

it('computes the same norm to the last bit in whatever order the parameters come', () => {
  // 64 squares of 2⁻⁵⁴ and one of 1: with the 1 first each of them is lost, with the 1 last their sum is not.
  const small = Array.from({ length: 64 }, (_, index) => [`a${index}`, 2 ** -27] as const);
  const values = [...small, ['b', 1] as const];
  const normOf = (order: readonly (readonly [string, number])[]) =>
    tidy(() => {
      const tensors = new Map(order.map(([name]) => [name, requireGrad(tensorOf([0], [1]))]));
      for (const [name, value] of order)
        setGrad(tensors.get(name) as Tensor, tensorOf([value], [1]));
      const optimizer = new AdamW(tensors);
      const { gradNorm } = optimizer.step(adam);
      optimizer.dispose();
      return gradNorm;
    });
  expect(normOf(values.toReversed())).toBe(normOf(values));
});

it('forgets gradients after a step, and does nothing without any', () => {
  const tensors = parameters();
  const optimizer = new AdamW(tensors);
  give(tensors, 0);
  optimizer.step(adam);
  const after = tensors.get('p')?.toFloat32Array();
  expect(optimizer.step(adam)).toEqual({ gradNorm: 0 });
  expect(tensors.get('p')?.toFloat32Array()).toEqual(after);
});

it('refuses a gradient that is not a number and leaves the parameters alone', () => {
  const tensors = parameters();
  const optimizer = new AdamW(tensors);
  tidy(() => {
    const broken = tensorOf([1, Number.NaN, 0], [3]);
    setGrad(tensors.get('p') as Tensor, broken);
  });
  expect(() => optimizer.step(adam)).toThrow("the gradient's norm is NaN at optimiser step 1");
  expectClose(tensors.get('p')?.toFloat32Array(), [1, -2, 0.5]);
});

it.each(['bfloat16', 'float16'] as const)(
  'adds up steps that %s alone would round away',
  (dtype) => {
    const before = liveTensors();
    // With a constant gradient every step of Adam is the learning rate. Around 1 bfloat16 has steps of 0.004.
    const parameter = tidy(() => keep(requireGrad(convert(tensorOf([1, 1], [2]), { dtype }))));
    const optimizer = new AdamW(new Map([['w', parameter]]));
    for (let step = 0; step < 20; step++) {
      tidy(() => setGrad(parameter, convert(tensorOf([0.5, -0.5], [2]), { dtype })));
      optimizer.step({ ...adam, learningRate: 1e-3, weightDecay: 0 });
    }
    const [values, master] = tidy(() => [
      convert(parameter, { dtype: 'float32' }).toFloat32Array(),
      optimizer.state().tensors.get('master.w')?.toFloat32Array(),
    ]);
    for (const [index, wanted] of [0.98, 1.02].entries()) {
      expect(Math.abs((master?.[index] ?? 0) - wanted)).toBeLessThan(1e-5);
      expect(Math.abs((values?.[index] ?? 0) - wanted)).toBeLessThan(0.004);
    }
    optimizer.dispose();
    parameter.dispose();
    expect(liveTensors()).toBe(before);
  },
);
