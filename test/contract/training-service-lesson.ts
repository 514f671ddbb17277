import { expect } from 'vitest';
import type {
  Adam,
  Datum,
  Policy,
  SampleParams,
  Sampler,
  Sequence,
} from '../../src/types/training-service.ts';

export const adam: Adam = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.95,
  eps: 1e-8,
  weightDecay: 0,
};
export const prompt = Int32Array.of(5, 9, 2, 7);
export const params: SampleParams = { maxTokens: 12, temperature: 1, seed: 3, stopTokens: [] };

/** The whole sequence as a datum whose prompt is masked. */
export function datumOf(sequence: Sequence, advantage = 1): Datum {
  const whole = Int32Array.of(...prompt, ...sequence.tokens);
  const length = whole.length - 1;
  const first = prompt.length - 1;
  const place = (values: ArrayLike<number>) => {
    const array = new Float32Array(length);
    array.set(values, first);
    return array;
  };
  const each = sequence.tokens.length;
  return {
    input: whole.slice(0, -1),
    target: whole.slice(1),
    weights: place(new Float32Array(each).fill(1)),
    advantages: place(new Float32Array(each).fill(advantage)),
    oldLogprobs: place(sequence.logprobs),
  };
}

export function supervised(...tokens: readonly number[]): Datum {
  return { input: Int32Array.from(tokens.slice(0, -1)), target: Int32Array.from(tokens.slice(1)) };
}

export const lesson = [
  supervised(1, 2, 3, 4, 5, 6),
  supervised(7, 8, 9),
  supervised(3, 1, 4, 1, 5, 9, 2),
];

export async function teach(
  policy: Policy,
  data: readonly Datum[] = lesson,
  learningRate = adam.learningRate,
): Promise<number> {
  const pass = policy.forwardBackward(data, { kind: 'cross_entropy' });
  await policy.optimStep({ ...adam, learningRate }).result;
  return (await pass.result).metrics.loss ?? Number.NaN;
}

export async function logprobsNow(policy: Policy): Promise<readonly Float32Array[]> {
  return (await policy.forward(lesson).result).logprobs;
}

export function samplerOf(policy: Policy): Promise<Sampler> {
  return policy.publish().result;
}

export function expectClose(
  left: ArrayLike<number>,
  right: ArrayLike<number>,
  tolerance: number,
): void {
  expect(left.length).toBe(right.length);
  for (let index = 0; index < left.length; index++) {
    const difference = Math.abs((left[index] ?? Number.NaN) - (right[index] ?? Number.NaN));
    expect(difference).toBeLessThanOrEqual(tolerance);
  }
}

/** Norms of two gradients that must be one; nothing where the engine does not say them. */
export function expectSameNorm(
  left: { readonly gradNorm?: number },
  right: { readonly gradNorm?: number },
): void {
  if (left.gradNorm === undefined && right.gradNorm === undefined) return;
  expect((left.gradNorm ?? Number.NaN) / (right.gradNorm ?? Number.NaN)).toBeCloseTo(1, 5);
}
