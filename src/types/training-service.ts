import type { Clock } from './clock.ts';

/**
 * The seam between method and machine: everything a method asks of an engine, in process or remote.
 * Alignment of a full sequence s[0..n]: `input` = s[0..n-1], `target` = s[1..n]; entry i of every array belongs to
 * predicting s[i+1]. All arrays of one datum have the same length.
 */
export type Datum = {
  readonly input: Int32Array;
  readonly target: Int32Array;
  /** Per-token loss weight; 0 masks. Absent = 1 everywhere. */
  readonly weights?: Float32Array;
  readonly advantages?: Float32Array;
  /** Raw log-probabilities (temperature 1, unfiltered) of the policy that was sampled, as its sampler recorded them. */
  readonly oldLogprobs?: Float32Array;
  /** Log-probabilities under the frozen reference. */
  readonly referenceLogprobs?: Float32Array;
  /** What a value head is to predict: the discounted reward to come, before the target is chosen. */
  readonly returns?: Float32Array;
  /** The value head's predictions when the data were collected. */
  readonly oldValues?: Float32Array;
};

/**
 * What may be added to a token's loss, with x = p − reference log-probability and H the entropy of the token's
 * distribution. Each is weighted and summed like the loss itself.
 */
export type LossTerms = {
  /** + coefficient · k(x): k1 = x · k2 = x²/2 · k3 = e⁻ˣ + x − 1. Only k2 and k3 have a useful gradient. */
  readonly kl?: { readonly coefficient: number; readonly estimator: 'k1' | 'k2' | 'k3' };
  /** − entropyCoefficient · H. */
  readonly entropyCoefficient?: number;
};

/**
 * Per-token loss ℓ, with p = current and q = old log-probability, r = exp(p − q), A = advantage, w = weight, sg = not
 * differentiated. The total is always Σ w·ℓ over tokens and datums.
 * cross_entropy: −p · importance_sampling: −r·A · ppo: −min(r·A, clip(r, clipLow, clipHigh)·A), with `dualClip` c never
 * above −c·A where A < 0 · cispo: −sg(clip(r))·A·p · gspo: ppo with r = s·exp(p − sg(p)) and s = sg(exp(mean(p − q)))
 * over the datum's tokens with w ≠ 0 · linear: −A·p (gradients computed by the caller).
 */
export type TokenLoss = (
  | { readonly kind: 'cross_entropy' | 'importance_sampling' | 'linear' }
  /** Absolute bounds of the ratio, for example 0.8 and 1.2; `dualClip` is above 1, for example 3. */
  | {
      readonly kind: 'ppo';
      readonly clipLow: number;
      readonly clipHigh: number;
      readonly dualClip?: number;
    }
  | { readonly kind: 'cispo' | 'gspo'; readonly clipLow: number; readonly clipHigh: number }
) &
  LossTerms;

/**
 * Direct preference optimisation over pairs: datums 0, 2, 4, … are preferred to the one that follows each.
 * With Δ = s(preferred) − s(rejected), s = Σ w·(p − reference), divided by Σ w when `isLengthNormalised`, a pair costs
 * pairWeight · (−(1 − ε)·log σ(β·Δ) − ε·log σ(−β·Δ) + λ·(−Σ w·p / Σ w of the preferred)), ε = labelSmoothing and
 * λ = anchor. The total is the sum over pairs.
 */
export type PreferenceLoss = {
  readonly kind: 'dpo';
  readonly beta: number;
  /** From 0 (default) to below 0.5. */
  readonly labelSmoothing?: number;
  readonly isLengthNormalised?: boolean;
  /** Default 1; 1/pairs makes the total a mean. */
  readonly pairWeight?: number;
  /** Default 0. Needs preferred weights that do not sum to 0. */
  readonly anchor?: number;
};

/**
 * Value head only: w · ½·max((V − R)², (clip(V, old − clip, old + clip) − R)²), R = return, old = `oldValues`;
 * without `clip` w · ½·(V − R)². With `isLogit`, where σ(V) is a probability and R in [0, 1]: w · −[R·log σ(V) + (1 − R)·log σ(−V)].
 */
export type ValueLoss =
  | { readonly kind: 'value'; readonly clip?: number; readonly isLogit?: never }
  | { readonly kind: 'value'; readonly clip?: never; readonly isLogit: true };

export type Loss = TokenLoss | PreferenceLoss | ValueLoss;

export type PassResult = {
  /** Per datum: log-probability of each target under the current policy; NaN where it was not computed (weight 0, loss `value`). */
  readonly logprobs: readonly Float32Array[];
  /** Per datum: what the policy's value head predicts before each target; NaN where weight is 0. Absent without a head. */
  readonly values?: readonly Float32Array[];
  /**
   * Sums over the data. `loss`; `tokens` with w ≠ 0; `clippedTokens` where the loss clips; `entropy` of sampled data;
   * `kl` = Σ (q − p); `referenceKl` with a KL term; `pairs`, `correctPairs` and `margin` = Σ β·Δ of dpo,
   * and `anchorLoss` = the anchors' share of `loss` where it has them.
   */
  readonly metrics: Readonly<Record<string, number>>;
};

export type Adam = {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Gradients are scaled down to this global norm; absent = no clipping. */
  readonly maxGradNorm?: number;
};

/** Resolves in two stages: `submitted` = the engine has it, in order; `result` = done. */
export type Ticket<Result> = {
  readonly submitted: Promise<void>;
  readonly result: Promise<Result>;
};

/** What may be drawn, after the temperature and in this order. */
export type SampleFilters = {
  /** The k likeliest tokens. */
  readonly topK?: number;
  /** The likeliest tokens that together hold this share, above 0. */
  readonly topP?: number;
  /** Tokens at least this many times as probable as the likeliest, 0 to 1. */
  readonly minP?: number;
};

export type SampleParams = SampleFilters & {
  readonly maxTokens: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly seed: number;
  readonly stopTokens: readonly number[];
  /** Texts that end the sequence once they stand in it; the tokens that complete one are included. */
  readonly stopStrings?: readonly string[];
};

export type Sequence = {
  /** Sampled ids, the stop token or the tokens of a stop string included. */
  readonly tokens: Int32Array;
  /** Of the raw distribution (temperature 1, unfiltered), recorded while sampling. */
  readonly logprobs: Float32Array;
  /** Of the distribution that was sampled, after temperature and filters; absent where that is the raw one, or greedy. */
  readonly behaviourLogprobs?: Float32Array;
  readonly stop: 'stop' | 'length';
  readonly version: number;
};

/** Weights as they were when published. */
export type Sampler = {
  readonly policyId: string | undefined;
  readonly version: number;
  readonly sample: (
    prompt: Int32Array,
    params: SampleParams,
    /** `clock` counts the caller's time; it is held while the sampler's server is away. */
    options?: { readonly signal?: AbortSignal; readonly clock?: Clock },
  ) => Promise<Sequence>;
  /** Log-probability of each token given those before it; length n, entry 0 is NaN. */
  readonly logprobs: (tokens: Int32Array) => Promise<Float32Array>;
};

/** One trainable set of weights (usually a LoRA adapter) of one agent, with its optimiser. */
export type Policy = {
  readonly id: string;
  /** Finished optimiser steps. */
  readonly version: () => number;
  readonly forward: (data: readonly Datum[]) => Ticket<PassResult>;
  /** Adds to the gradient; the gradient is the SUM over tokens and datums until `optimStep`. */
  readonly forwardBackward: (data: readonly Datum[], loss: Loss) => Ticket<PassResult>;
  /** `gradNorm` before clipping; absent where the engine does not say. */
  readonly optimStep: (adam: Adam) => Ticket<{ readonly gradNorm?: number }>;
  /** A sampler of the weights as of this point in the queue. */
  readonly publish: () => Ticket<Sampler>;
  /** Writes weights and optimiser state into a folder (PEFT layout + `optimizer.safetensors`), which must not exist. */
  readonly saveState: (directory: string) => Ticket<void>;
  /** Writes the adapter alone, as `peft` loads it. */
  readonly exportAdapter: (directory: string) => Promise<void>;
  readonly close: () => Promise<void>;
};

export type PolicyOptions = {
  readonly id: string;
  readonly seed: number;
  /**
   * LoRA rank; `full` for full fine-tuning of the base itself (then it must be the only policy); `stored` for the rank
   * and alpha of the folder in `from`.
   */
  readonly rank: number | 'full' | 'stored';
  readonly alpha?: number;
  /** Modules of a new adapter, by the last part of their names (`q_proj`); default: every linear module. */
  readonly targets?: readonly string[];
  /** Adds a scalar head on the last hidden state, 0 at the start, trained by the loss `value` and saved with the policy. */
  readonly valueHead?: boolean;
  /** A folder written by `saveState` (or, without `optimizer`, any PEFT adapter folder). */
  readonly from?: { readonly directory: string; readonly optimizer: boolean };
};

export type TrainingService = {
  readonly createPolicy: (options: PolicyOptions) => Promise<Policy>;
  /** The base model with adapters off: the reference policy. */
  readonly baseSampler: () => Promise<Sampler>;
  /**
   * Counters since creation: `sampledTokens`, `trainedTokens`, `sampleSeconds`, `trainSeconds`, `liveTensors`. An engine in
   * this process adds its memory now: `weightBytes` (of the base), `adapterBytes` (value heads included), `optimizerBytes`,
   * `cacheBytes`, and `activationBytes`, the most that the process grew over one forward pass of training: less than the
   * activations where memory was free already.
   */
  readonly counters: () => Readonly<Record<string, number>>;
  readonly close: () => Promise<void>;
  /**
   * Lets go of what a server keeps for this client, for a process that is about to end with work under way: none of that
   * settles any more. Absent where all of it ends with the process.
   */
  readonly abandon?: () => Promise<void>;
};
