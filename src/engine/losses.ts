import type { Datum, Loss } from '../types/training-service.ts';

/** Value and slope of one token's loss ℓ(p), unweighted. */
type Term = { readonly value: number; readonly slope: number; readonly clipped: boolean };

/** One token: p = current log-probability, q = behaviour log-probability, A = advantage. */
type TokenPoint = { readonly p: number; readonly q: number; readonly advantage: number };

/** What each kind of loss reads of a datum besides tokens and weights. */
export const lossNeeds: Readonly<Record<Loss['kind'], readonly ('advantages' | 'oldLogprobs')[]>> =
  {
    cross_entropy: [],
    importance_sampling: ['advantages', 'oldLogprobs'],
    ppo: ['advantages', 'oldLogprobs'],
    cispo: ['advantages', 'oldLogprobs'],
    linear: ['advantages'],
  };

/** The result of one datum: Σ w·ℓ, its gradient, and counts over tokens with w ≠ 0. */
export type DatumLoss = {
  readonly loss: number;
  /** ∂(Σ w·ℓ)/∂p per token. */
  readonly slopes: Float32Array;
  readonly tokens: number;
  /** Tokens whose ratio the clip holds. */
  readonly clippedTokens: number;
  /** Σ (q − p): the k1 estimate of KL(behaviour ‖ current); absent without `oldLogprobs`. */
  readonly kl?: number;
};

/**
 * The loss of one datum and its slope in every log-probability; tokens with w = 0 contribute exactly nothing.
 *
 * @param datum with `advantages` and `oldLogprobs` where `lossNeeds` says so
 * @param logprobs current log-probability of each target
 * @see docs/math.md; definitions in types/training-service.ts
 */
export function computeLoss(datum: Datum, logprobs: Float32Array, loss: Loss): DatumLoss {
  const slopes = new Float32Array(logprobs.length);
  let total = 0;
  let tokens = 0;
  let clippedTokens = 0;
  let kl = 0;
  for (let index = 0; index < logprobs.length; index++) {
    const weight = datum.weights?.[index] ?? 1;
    if (weight === 0) continue;
    const p = logprobs[index] ?? 0;
    const q = datum.oldLogprobs?.[index] ?? 0;
    const term = termOf(loss, { p, q, advantage: datum.advantages?.[index] ?? 0 });
    total += weight * term.value;
    slopes[index] = weight * term.slope;
    tokens += 1;
    clippedTokens += term.clipped ? 1 : 0;
    kl += q - p;
  }
  const counted = { loss: total, slopes, tokens, clippedTokens };
  return datum.oldLogprobs === undefined ? counted : { ...counted, kl };
}

function termOf(loss: Loss, point: TokenPoint): Term {
  switch (loss.kind) {
    case 'cross_entropy':
      return { value: -point.p, slope: -1, clipped: false };
    case 'linear':
      return { value: -point.advantage * point.p, slope: -point.advantage, clipped: false };
    case 'importance_sampling': {
      const value = -Math.exp(point.p - point.q) * point.advantage;
      return { value, slope: value, clipped: false };
    }
    case 'ppo':
      return ppoTerm(point, loss.clipLow, loss.clipHigh);
    case 'cispo':
      return cispoTerm(point, loss.clipLow, loss.clipHigh);
  }
}

/** −min(r·A, clip(r)·A): flat in p wherever the clipped side is the smaller one. */
function ppoTerm({ p, q, advantage }: TokenPoint, low: number, high: number): Term {
  const ratio = Math.exp(p - q);
  const free = ratio * advantage;
  const held = clip(ratio, low, high) * advantage;
  return held < free
    ? { value: -held, slope: 0, clipped: true }
    : { value: -free, slope: -free, clipped: false };
}

/** −sg(clip(r))·A·p: the clip bounds the weight of a token and never silences it. */
function cispoTerm({ p, q, advantage }: TokenPoint, low: number, high: number): Term {
  const ratio = Math.exp(p - q);
  const held = clip(ratio, low, high);
  return { value: -held * advantage * p, slope: -held * advantage, clipped: held !== ratio };
}

function clip(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
