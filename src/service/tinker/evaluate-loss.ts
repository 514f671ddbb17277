import { computeLoss, weightedTokens } from '../../engine/losses.ts';
import { computePreferenceLoss } from '../../engine/preference-loss.ts';
import { BoundaryError } from '../../errors.ts';
import type { Datum, Loss, TokenLoss } from '../../types/training-service.ts';
import type { Profile } from './profile.ts';
import type { SentDatum } from './protobuf.ts';

/** What a loss comes to at given log-probabilities. */
export type EvaluatedLoss = {
  /** Per datum: slope of the total in every target's log-probability. */
  readonly slopes: readonly Float32Array[];
  readonly metrics: Readonly<Record<string, number>>;
};

/**
 * Any loss of log-probabilities, computed here.
 *
 * The entropy term cannot be: a server returns no distributions. What stands for it is its estimate from the tokens
 * that were sampled, −r·p, with the slope of the score function: −r·(p − mean of p), r = the ratio to the policy that
 * sampled them. It is right on average for data that a policy sampled, and means nothing for any other.
 *
 * @param logprobs a row per datum, under the current policy
 */
export function evaluateLoss(
  data: readonly Datum[],
  logprobs: readonly Float32Array[],
  loss: Loss,
): EvaluatedLoss {
  const scored = data.map((datum, row) => ({ datum, logprobs: logprobs[row] as Float32Array }));
  switch (loss.kind) {
    case 'value':
      throw new BoundaryError('engine', 'a server of the Tinker protocol trains no value head');
    case 'dpo':
      return summed(
        Array.from({ length: scored.length / 2 }, (_, pair) => {
          const [preferred, rejected] = scored.slice(2 * pair, 2 * pair + 2);
          return computePreferenceLoss(preferred as Scored, rejected as Scored, loss);
        }).flat(),
      );
    default: {
      const mean = loss.entropyCoefficient ? meanLogprob(scored) : 0;
      return summed(
        scored.map((each) => {
          const exact = { ...loss, entropyCoefficient: 0 };
          const result = computeLoss(each.datum, { logprobs: each.logprobs }, exact);
          return withEntropyEstimate(result, each, { loss, mean });
        }),
      );
    }
  }
}

type Scored = { readonly datum: Datum; readonly logprobs: Float32Array };
type DatumSum = {
  readonly loss: number;
  readonly slopes: Float32Array;
  readonly tokens: number;
  readonly sums: Readonly<Record<string, number>>;
};

function meanLogprob(scored: readonly Scored[]): number {
  let [sum, tokens] = [0, 0];
  for (const { datum, logprobs } of scored) {
    for (const [index] of weightedTokens(datum)) {
      sum += logprobs[index] as number;
      tokens += 1;
    }
  }
  return sum / Math.max(1, tokens);
}

/** @param mean of all tokens' log-probabilities: what is subtracted changes no average, and less noise is left */
function withEntropyEstimate(
  result: DatumSum,
  { datum, logprobs }: Scored,
  { loss: { entropyCoefficient = 0 }, mean }: { readonly loss: TokenLoss; readonly mean: number },
): DatumSum {
  if (entropyCoefficient === 0) return result;
  const slopes = result.slopes.slice();
  let { loss } = result;
  for (const [index, weight] of weightedTokens(datum)) {
    const p = logprobs[index] as number;
    const ratio = Math.exp(p - (datum.oldLogprobs?.[index] ?? p));
    const factor = weight * entropyCoefficient * ratio;
    loss += factor * p;
    slopes[index] = (slopes[index] as number) + factor * (p - mean);
  }
  return { ...result, loss, slopes };
}

function summed(results: readonly DatumSum[]): EvaluatedLoss {
  const names = Object.keys(results[0]?.sums ?? {});
  const total = (of: (result: DatumSum) => number) =>
    results.reduce((sum, result) => sum + of(result), 0);
  const sums = names.map((name) => [name, total(({ sums: own }) => own[name] ?? 0)] as const);
  return {
    slopes: results.map(({ slopes }) => slopes),
    metrics: {
      loss: total(({ loss }) => loss),
      tokens: total(({ tokens }) => tokens),
      ...Object.fromEntries(sums),
    },
  };
}

/** A loss in the server's own terms. */
export type ServerLoss = {
  readonly name: string;
  readonly config: Readonly<Record<string, number>>;
};

/**
 * The server's own loss that is exactly this one, with the data in its form; undefined where it has none.
 * Weights go into the advantages, so that servers with and without weights in these losses do the same.
 */
export function serverLoss(
  data: readonly Datum[],
  loss: Loss,
  { losses, reduction }: Profile,
): (ServerLoss & { readonly data: readonly SentDatum[] }) | undefined {
  if (reduction !== 'token-sum' || !losses.has(loss.kind) || hasMore(loss)) return undefined;
  if (loss.kind === 'cross_entropy') {
    return { name: loss.kind, config: {}, data: data.map((datum) => crossEntropyDatum(datum)) };
  }
  // min(r·A, clip(r)·A) is scaled by a weight only where that is not negative.
  if (data.some(({ weights }) => weights?.some((weight) => weight < 0))) return undefined;
  const config =
    'clipLow' in loss
      ? { clip_low_threshold: loss.clipLow, clip_high_threshold: loss.clipHigh }
      : {};
  return { name: loss.kind, config, data: data.map(weightedDatum) };
}

function hasMore(loss: Loss): boolean {
  const { kl, entropyCoefficient, dualClip } = loss as Partial<Extract<TokenLoss, { kind: 'ppo' }>>;
  return kl !== undefined || (entropyCoefficient ?? 0) !== 0 || dualClip !== undefined;
}

/** For the log-probabilities of a forward pass, too, where weights mean nothing. */
export function crossEntropyDatum({ input, target, weights }: Datum): SentDatum {
  const all = weights ?? new Float32Array(input.length).fill(1);
  return { tokens: input, targets: target, arrays: { weights: all } };
}

function weightedDatum(datum: Datum): SentDatum {
  const { input, target, advantages, oldLogprobs } = datum;
  const weighted = new Float32Array(input.length);
  const old = new Float32Array(input.length);
  // Masked tokens may hold anything, which must not reach the server.
  for (const [index, weight] of weightedTokens(datum)) {
    weighted[index] = weight * (advantages?.[index] as number);
    old[index] = oldLogprobs?.[index] as number;
  }
  return { tokens: input, targets: target, arrays: { logprobs: old, advantages: weighted } };
}

/**
 * A gradient that was computed here, as data for `importance_sampling`: at ratio 1 that has the gradient −Σ A·∇p, so
 * A = −slope. It works on every server, where weights of either sign in `cross_entropy` do not.
 *
 * @param scale factor of the slopes
 */
export function gradientDatum(
  { input, target }: Datum,
  at: { readonly logprobs: Float32Array; readonly slopes: Float32Array },
  scale: number,
): SentDatum {
  const advantages = at.slopes.map((slope) => (slope === 0 ? 0 : -slope * scale));
  return { tokens: input, targets: target, arrays: { logprobs: at.logprobs, advantages } };
}
