import type { Datum, Loss, LossTerms, TokenLoss } from '../types/training-service.ts';

/** Value and slope of one token's loss ℓ(p), unweighted. */
type Term = { readonly value: number; readonly slope: number; readonly isClipped: boolean };

/** One token: p = current log-probability, q = old log-probability, A = advantage. */
type TokenPoint = { readonly p: number; readonly q: number; readonly advantage: number };

/** Arrays of a datum that a loss may read besides tokens and weights. */
export type LossField = Exclude<keyof Datum, 'input' | 'target' | 'weights'>;

const needsOfKind: Readonly<Record<Loss['kind'], readonly LossField[]>> = {
  cross_entropy: [],
  importance_sampling: ['advantages', 'oldLogprobs'],
  ppo: ['advantages', 'oldLogprobs'],
  cispo: ['advantages', 'oldLogprobs'],
  gspo: ['advantages', 'oldLogprobs'],
  linear: ['advantages'],
  dpo: ['referenceLogprobs'],
  value: ['returns'],
};

/** What a loss reads of every datum besides tokens and weights. */
export function lossNeeds(loss: Loss): readonly LossField[] {
  const ofKind = needsOfKind[loss.kind];
  if (loss.kind === 'value' && loss.clip !== undefined) return [...ofKind, 'oldValues'];
  return 'kl' in loss && loss.kl !== undefined ? [...ofKind, 'referenceLogprobs'] : ofKind;
}

/** The result of one datum: Σ w·ℓ, its gradient, and sums over tokens with w ≠ 0. */
export type DatumLoss = {
  readonly loss: number;
  /** ∂(Σ w·ℓ)/∂p per token. */
  readonly slopes: Float32Array;
  /** ∂(Σ w·ℓ)/∂H per token; absent without an entropy term. */
  readonly entropySlopes?: Float32Array;
  readonly tokens: number;
  /** Further sums by the names that `PassResult` gives them. */
  readonly sums: Readonly<Record<string, number>>;
};

/**
 * The loss of one datum and its slope in every log-probability; tokens with w = 0 contribute exactly nothing.
 *
 * @param datum with the arrays that `lossNeeds` names
 * @param now current log-probability of each target and, for an entropy term, entropy of its distribution
 * @see docs/math.md; definitions in types/training-service.ts
 */
export function computeLoss(
  datum: Datum,
  now: { readonly logprobs: Float32Array; readonly entropies?: Float32Array },
  loss: TokenLoss,
): DatumLoss {
  const { logprobs, entropies } = now;
  const { kl: klTerm, entropyCoefficient = 0 } = loss;
  const slopes = new Float32Array(logprobs.length);
  const entropySlopes = new Float32Array(logprobs.length);
  const termOf = termFunction(loss, datum, logprobs);
  let total = 0;
  let [tokens, clippedTokens, kl, referenceKl] = [0, 0, 0, 0];
  for (const [index, weight] of weightedTokens(datum)) {
    const p = logprobs[index] ?? 0;
    const q = at(datum.oldLogprobs, index);
    const term = termOf({ p, q, advantage: at(datum.advantages, index) });
    const divergence = klTermOf(klTerm, p - at(datum.referenceLogprobs, index));
    const entropy = entropyCoefficient === 0 ? 0 : at(entropies, index);
    total += weight * (term.value + divergence.value - entropyCoefficient * entropy);
    slopes[index] = weight * (term.slope + divergence.slope);
    entropySlopes[index] = -weight * entropyCoefficient;
    tokens += 1;
    clippedTokens += term.isClipped ? 1 : 0;
    kl += q - p;
    referenceKl += divergence.estimate;
  }
  const sums = {
    ...('clipLow' in loss && { clippedTokens }),
    ...(datum.oldLogprobs && { kl }),
    ...(klTerm && { referenceKl }),
  };
  const result = { loss: total, slopes, tokens, sums };
  return entropyCoefficient === 0 ? result : { ...result, entropySlopes };
}

/** Positions with a weight other than 0, and the weight. */
export function* weightedTokens({ input, weights }: Datum): Generator<readonly [number, number]> {
  for (let index = 0; index < input.length; index++) {
    const weight = weights?.[index] ?? 1;
    if (weight !== 0) yield [index, weight];
  }
}

/** 0 where the datum has no such array, which `lossNeeds` lets happen only where it is not read. */
export function at(values: Float32Array | undefined, index: number): number {
  return values?.[index] ?? 0;
}

function termFunction(
  loss: TokenLoss,
  datum: Datum,
  logprobs: Float32Array,
): (point: TokenPoint) => Term {
  switch (loss.kind) {
    case 'cross_entropy':
      return ({ p }) => ({ value: -p, slope: -1, isClipped: false });
    case 'linear':
      return ({ p, advantage }) => ({ value: -advantage * p, slope: -advantage, isClipped: false });
    case 'importance_sampling':
      return ({ p, q, advantage }) => {
        const value = -Math.exp(p - q) * advantage;
        return { value, slope: value, isClipped: false };
      };
    case 'ppo':
      return ({ p, q, advantage }) => clippedTerm(Math.exp(p - q), advantage, loss);
    case 'gspo': {
      const ratio = sequenceRatio(datum, logprobs);
      return ({ advantage }) => clippedTerm(ratio, advantage, loss);
    }
    case 'cispo':
      return (point) => cispoTerm(point, loss.clipLow, loss.clipHigh);
  }
}

/** −min(r·A, clip(r)·A), and never above −c·A for A < 0 (c = dualClip): flat in p wherever a bound holds it. */
function clippedTerm(
  ratio: number,
  advantage: number,
  bounds: { readonly clipLow: number; readonly clipHigh: number; readonly dualClip?: number },
): Term {
  const free = ratio * advantage;
  const held = clip(ratio, bounds.clipLow, bounds.clipHigh) * advantage;
  const lowest = (bounds.dualClip ?? Number.POSITIVE_INFINITY) * advantage;
  if (advantage < 0 && Math.min(free, held) < lowest) {
    return { value: -lowest, slope: 0, isClipped: true };
  }
  return held < free
    ? { value: -held, slope: 0, isClipped: true }
    : { value: -free, slope: -free, isClipped: false };
}

/** The geometric mean of the ratios of a datum's tokens with w ≠ 0 (Zheng et al. 2025, arXiv:2507.18071, eq. 7). */
function sequenceRatio(datum: Datum, logprobs: Float32Array): number {
  let [sum, tokens] = [0, 0];
  for (const [index] of weightedTokens(datum)) {
    sum += at(logprobs, index) - at(datum.oldLogprobs, index);
    tokens += 1;
  }
  return Math.exp(sum / Math.max(1, tokens));
}

/** −sg(clip(r))·A·p: the clip bounds the weight of a token and never silences it. */
function cispoTerm({ p, q, advantage }: TokenPoint, low: number, high: number): Term {
  const ratio = Math.exp(p - q);
  const held = clip(ratio, low, high);
  return { value: -held * advantage * p, slope: -held * advantage, isClipped: held !== ratio };
}

/**
 * Estimates of KL(current ‖ reference) from one sampled token, with their slopes in p.
 *
 * @param x current minus reference log-probability
 * @see Schulman 2020, "Approximating KL divergence"
 */
function klTermOf(
  term: LossTerms['kl'],
  x: number,
): { readonly value: number; readonly slope: number; readonly estimate: number } {
  if (term === undefined) return { value: 0, slope: 0, estimate: 0 };
  const [estimate, slope] = {
    k1: [x, 1] as const,
    k2: [(x * x) / 2, x] as const,
    k3: [Math.expm1(-x) + x, -Math.expm1(-x)] as const,
  }[term.estimator];
  return { value: term.coefficient * estimate, slope: term.coefficient * slope, estimate };
}

/** The value, or the bound that it is beyond. */
export function clip(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
