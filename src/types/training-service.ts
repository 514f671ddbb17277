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
  /** Log-probabilities under the behaviour policy, as its sampler recorded them. */
  readonly oldLogprobs?: Float32Array;
};

/**
 * Per-token loss ℓ, with p = current and q = behaviour log-probability, r = exp(p − q), A = advantage, w = weight.
 * The total is always Σ w·ℓ over tokens and datums.
 * cross_entropy: −p · importance_sampling: −r·A · ppo: −min(r·A, clip(r, clipLow, clipHigh)·A) ·
 * cispo: −sg(clip(r))·A·p · linear: −A·p (gradients computed by the caller).
 */
export type Loss =
  | { readonly kind: 'cross_entropy' }
  | { readonly kind: 'importance_sampling' }
  /** Absolute bounds of the ratio, for example 0.8 and 1.2. */
  | { readonly kind: 'ppo' | 'cispo'; readonly clipLow: number; readonly clipHigh: number }
  | { readonly kind: 'linear' };

export type PassResult = {
  /** Per datum: log-probability of each target under the current policy; NaN where it was not computed (weight 0). */
  readonly logprobs: readonly Float32Array[];
  /** `loss` = Σ w·ℓ; `tokens` = tokens with w ≠ 0; for ppo also `clippedTokens`, and `entropy` (Σ over weighted tokens). */
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

export type SampleParams = {
  readonly maxTokens: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly seed: number;
  readonly stopTokens: readonly number[];
};

export type Sequence = {
  /** Sampled ids, the stop token included. */
  readonly tokens: Int32Array;
  /** Of the raw distribution (temperature 1, unfiltered), recorded while sampling. */
  readonly logprobs: Float32Array;
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
    options?: { readonly signal?: AbortSignal },
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
  readonly optimStep: (adam: Adam) => Ticket<{ readonly gradNorm: number }>;
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
  /** A folder written by `saveState` (or, without `optimizer`, any PEFT adapter folder). */
  readonly from?: { readonly directory: string; readonly optimizer: boolean };
};

export type TrainingService = {
  readonly createPolicy: (options: PolicyOptions) => Promise<Policy>;
  /** The base model with adapters off: the reference policy. */
  readonly baseSampler: () => Promise<Sampler>;
  /** Counters since creation: `sampledTokens`, `trainedTokens`, `sampleSeconds`, `trainSeconds`, `liveTensors`. */
  readonly counters: () => Readonly<Record<string, number>>;
  readonly close: () => Promise<void>;
};
