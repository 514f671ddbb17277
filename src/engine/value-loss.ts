import type { Datum } from '../types/training-service.ts';
import { at, clip, weightedTokens } from './losses.ts';

/** The result of one datum whose values, not log-probabilities, have slopes. */
export type DatumValueLoss = {
  readonly loss: number;
  /** ∂(Σ w·ℓ)/∂V per token. */
  readonly valueSlopes: Float32Array;
  readonly tokens: number;
  readonly sums: Readonly<Record<string, number>>;
};

/**
 * Binary cross-entropy of a value head whose value V is a logit: −[R·log σ(V) + (1 − R)·log σ(−V)] = log(1 + eᵛ) − R·V,
 * with the slope σ(V) − R.
 *
 * @param datum with `returns` in [0, 1]
 * @param values current prediction before each target
 * @see definition in types/training-service.ts
 */
export function computeLogitLoss(datum: Datum, values: Float32Array): DatumValueLoss {
  const valueSlopes = new Float32Array(values.length);
  let [loss, tokens] = [0, 0];
  for (const [index, weight] of weightedTokens(datum)) {
    const [value, target] = [at(values, index), at(datum.returns, index)];
    // log(1 + eᵛ), which would overflow for large V.
    const softplus = Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
    loss += weight * (softplus - target * value);
    valueSlopes[index] = weight * (1 / (1 + Math.exp(-value)) - target);
    tokens += 1;
  }
  return { loss, valueSlopes, tokens, sums: {} };
}

/**
 * Squared error of a value head, whose step away from its old prediction is bounded by `clip`.
 *
 * @param datum with `returns` and, with `clip`, `oldValues`
 * @param values current prediction before each target
 * @see Schulman et al. 2017, arXiv:1707.06347, and its reference code; definition in types/training-service.ts
 */
export function computeValueLoss(
  datum: Datum,
  values: Float32Array,
  bound: number | undefined,
): DatumValueLoss {
  const valueSlopes = new Float32Array(values.length);
  let [loss, tokens, clippedTokens] = [0, 0, 0];
  for (const [index, weight] of weightedTokens(datum)) {
    const value = at(values, index);
    const [target, old] = [at(datum.returns, index), at(datum.oldValues, index)];
    const held = bound === undefined ? value : clip(value, old - bound, old + bound);
    const [error, heldError] = [value - target, held - target];
    const isClipped = heldError * heldError > error * error;
    loss += (weight * Math.max(error * error, heldError * heldError)) / 2;
    valueSlopes[index] = isClipped ? 0 : weight * error;
    tokens += 1;
    clippedTokens += isClipped ? 1 : 0;
  }
  return { loss, valueSlopes, tokens, sums: bound === undefined ? {} : { clippedTokens } };
}
