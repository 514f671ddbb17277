/** One scored action as the arithmetic sees it. */
export type Sample = {
  /** All samples of one task share it; only the group estimators read it. */
  readonly group: string;
  /** In [0, 1]. */
  readonly reward: number;
  /** k1 per token, in nats. */
  readonly kl_T: Float64Array;
  /** The critic's prediction before each token; only `gae` reads it. */
  readonly values_T?: ArrayLike<number>;
};

export type EstimatorOptions = {
  /** β: weight of the divergence from the reference in the token rewards. */
  readonly klCoefficient: number;
  /** γ: discount within one action. */
  readonly gamma: number;
  /** λ of generalised advantage estimation: 1 = returns minus values, 0 = one-step surprises. */
  readonly lambda: number;
};

/** Samples of one agent → advantages per token, in the same order; pure. */
export type Estimator = (
  samples: readonly Sample[],
  options: EstimatorOptions,
) => readonly Float64Array[];
