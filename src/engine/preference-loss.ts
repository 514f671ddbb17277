import type { Datum, PreferenceLoss } from '../types/training-service.ts';
import { type DatumLoss, weightedTokens } from './losses.ts';

/** A datum and the current log-probability of each of its targets. */
export type ScoredDatum = { readonly datum: Datum; readonly logprobs: Float32Array };

/**
 * Direct preference optimisation on one pair, with an anchor where the loss has one. The pair's loss stands with the
 * preferred datum, 0 with the other.
 *
 * @param preferred with `referenceLogprobs`, as `rejected`
 * @see Rafailov et al. 2023, arXiv:2305.18290, eq. 7; labelSmoothing: Mitchell 2023, "cDPO"; division by the length:
 *   Lambert et al. 2024, arXiv:2411.15124, eq. 6; anchor: Pang et al. 2024, arXiv:2404.19733, eq. 1
 */
export function computePreferenceLoss(
  preferred: ScoredDatum,
  rejected: ScoredDatum,
  loss: PreferenceLoss,
): readonly [DatumLoss, DatumLoss] {
  const { beta, labelSmoothing = 0, pairWeight = 1 } = loss;
  const better = sequenceScore(preferred, loss);
  const worse = sequenceScore(rejected, loss);
  const margin = beta * (better.score - worse.score);
  const value =
    pairWeight * ((1 - labelSmoothing) * softplus(-margin) + labelSmoothing * softplus(margin));
  const slope = pairWeight * beta * (sigmoid(margin) - 1 + labelSmoothing);
  const anchor = anchorOf(preferred, loss);
  return [
    {
      loss: value + (anchor?.loss ?? 0),
      slopes: better.slopes.map((each, at) => slope * each + (anchor?.slopes[at] ?? 0)),
      tokens: better.tokens,
      sums: {
        ...{ pairs: 1, correctPairs: margin > 0 ? 1 : 0, margin },
        ...(anchor && { anchorLoss: anchor.loss }),
      },
    },
    {
      loss: 0,
      slopes: worse.slopes.map((each) => -slope * each),
      tokens: worse.tokens,
      sums: { pairs: 0, correctPairs: 0, margin: 0, ...(anchor && { anchorLoss: 0 }) },
    },
  ];
}

/** pairWeight · λ · the cross-entropy per token of the preferred datum, and its slopes; absent without an anchor. */
function anchorOf(
  { datum, logprobs }: ScoredDatum,
  { anchor = 0, pairWeight = 1 }: PreferenceLoss,
): { readonly loss: number; readonly slopes: Float32Array } | undefined {
  if (anchor === 0) return undefined;
  const slopes = new Float32Array(logprobs.length);
  let [loss, weights] = [0, 0];
  for (const [, weight] of weightedTokens(datum)) weights += weight;
  for (const [index, weight] of weightedTokens(datum)) {
    const slope = (-pairWeight * anchor * weight) / weights;
    slopes[index] = slope;
    loss += slope * (logprobs[index] ?? 0);
  }
  return { loss, slopes };
}

/** Σ w·(p − reference), by default not divided by Σ w, and its slope in every p. */
function sequenceScore(
  { datum, logprobs }: ScoredDatum,
  { isLengthNormalised = false }: PreferenceLoss,
): { readonly score: number; readonly slopes: Float32Array; readonly tokens: number } {
  const slopes = new Float32Array(logprobs.length);
  let [score, weights, tokens] = [0, 0, 0];
  for (const [index, weight] of weightedTokens(datum)) {
    score += weight * ((logprobs[index] ?? 0) - (datum.referenceLogprobs?.[index] ?? 0));
    slopes[index] = weight;
    weights += weight;
    tokens += 1;
  }
  if (!isLengthNormalised || tokens === 0) return { score, slopes, tokens };
  return { score: score / weights, slopes: slopes.map((slope) => slope / weights), tokens };
}

function sigmoid(value: number): number {
  return 1 / (1 + Math.exp(-value));
}

/** log(1 + eˣ) = −log σ(−x), without overflow. */
function softplus(value: number): number {
  return Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
}
