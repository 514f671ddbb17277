import { BoundaryError } from '../errors.ts';
import type { Estimator, EstimatorOptions, Sample } from './estimator.ts';
import { type Generalized, generalizedAdvantages } from './generalized-advantages.ts';
import { groupBy } from './group-by.ts';
import { normalize, spreadOf } from './normalize.ts';
import { reinforcePlusPlus } from './reinforce-plus-plus.ts';
import { returns, tokenRewards } from './returns.ts';

/** Returns of the token rewards, with every sample's reward replaced by `adjust(sample)`. */
function returnsWith(
  samples: readonly Sample[],
  options: EstimatorOptions,
  adjust: (sample: Sample) => number,
): Float64Array[] {
  return samples.map((sample) =>
    returns(tokenRewards(sample.kl_T, adjust(sample), options.klCoefficient), options.gamma),
  );
}

function rewardsByGroup(samples: readonly Sample[]): ReadonlyMap<string, readonly number[]> {
  const groups = groupBy(samples, (sample) => sample.group);
  return new Map(
    [...groups].map(([group, members]) => [group, members.map((member) => member.reward)]),
  );
}

/** Plain REINFORCE: the return itself, without a baseline. */
const reinforce: Estimator = (samples, options) =>
  returnsWith(samples, options, (sample) => sample.reward);

/** Reward minus the mean of its group, then normalised like REINFORCE++. */
const reinforceBaseline: Estimator = (samples, options) => {
  const groups = rewardsByGroup(samples);
  return normalize(
    returnsWith(
      samples,
      options,
      (sample) => sample.reward - spreadOf(groups.get(sample.group) ?? []).mean,
    ),
  );
};

/**
 * Reward minus the mean of the *other* rewards of its group; 0 for a group of one, which has nothing to be compared with.
 *
 * @see Ahmadian et al. 2024, arXiv:2402.14740
 */
const rloo: Estimator = (samples, options) => {
  const groups = rewardsByGroup(samples);
  return returnsWith(samples, options, (sample) => {
    const rewards = groups.get(sample.group) ?? [];
    if (rewards.length < 2) return 0;
    // The same as less the others' mean, and exactly 0 where all are equal.
    const { mean } = spreadOf(rewards);
    return ((sample.reward - mean) * rewards.length) / (rewards.length - 1);
  });
};

/**
 * Group z-score: (reward − mean)/σ of the group, population σ; 0 where the group agrees.
 *
 * @see Shao et al. 2024, arXiv:2402.03300
 */
const grpo: Estimator = (samples, options) => {
  const groups = rewardsByGroup(samples);
  return returnsWith(samples, options, (sample) => {
    const { mean, deviation } = spreadOf(groups.get(sample.group) ?? []);
    return deviation > 0 ? (sample.reward - mean) / deviation : 0;
  });
};

/**
 * A sample's advantages against the critic, and what the critic is to learn from it.
 *
 * @throws BoundaryError("credit") when the sample has no values
 */
export function againstCritic(sample: Sample, options: EstimatorOptions): Generalized {
  const { kl_T, reward, values_T } = sample;
  if (values_T === undefined) {
    throw new BoundaryError(
      'credit',
      'The estimator gae needs the values of a critic for every sample; got none.',
    );
  }
  return generalizedAdvantages(
    tokenRewards(kl_T, reward, options.klCoefficient),
    values_T,
    options,
  );
}

/** Generalised advantages, then normalised like REINFORCE++: the advantage of PPO. */
const gae: Estimator = (samples, options) =>
  normalize(samples.map((sample) => againstCritic(sample, options).advantages_T));

export type EstimatorName =
  | 'reinforce-plus-plus'
  | 'reinforce'
  | 'reinforce-baseline'
  | 'rloo'
  | 'grpo'
  | 'gae';

/** Every way to turn rewards into advantages, by name. */
export const estimators = {
  'reinforce-plus-plus': reinforcePlusPlus,
  reinforce,
  'reinforce-baseline': reinforceBaseline,
  rloo,
  grpo,
  gae,
} satisfies Record<EstimatorName, Estimator>;
