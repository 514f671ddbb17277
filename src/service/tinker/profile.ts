import type { Adam, Loss } from '../../types/training-service.ts';

/** Servers whose ways are known. */
export type ServerKind = 'skyrl-jax' | 'skyrl-megatron' | 'tinker' | 'tuft';

/** Numbers of AdamW that a server fixes when it is started; `maxGradNorm` false = it does not clip. */
export type FixedAdam = Pick<Adam, 'beta1' | 'beta2' | 'eps' | 'weightDecay'> & {
  readonly maxGradNorm: number | false;
};

/** What one kind of server does, as far as it cannot be asked for it. */
export type Profile = {
  /** As messages call it. */
  readonly name: string;
  /** Form of training data; everything else is JSON everywhere. */
  readonly dialect: 'json' | 'protobuf';
  /**
   * `token-sum`: gradients add over tokens, datums and calls. `sequence-mean`: the mean over all datums since the last
   * step of each one's mean over its tokens.
   */
  readonly reduction: 'token-sum' | 'sequence-mean';
  /** Losses that the server computes as this project defines them; all others are computed here. */
  readonly losses: ReadonlySet<Loss['kind']>;
  /** Whether a published sampler keeps its weights while training goes on. */
  readonly isSnapshot: boolean;
  /** Whether the base can be sampled by its name; otherwise an adapter that is never trained stands for it. */
  readonly hasBaseSampler: boolean;
  /** Whether all adapters must have one rank. */
  readonly isRankShared: boolean;
  /** Scale of every adapter, whatever the client wants. */
  readonly alpha: (rank: number) => number;
  /** What an optimiser step takes from the client besides the learning rate. */
  readonly adam: ReadonlySet<keyof FixedAdam>;
  /** What it has instead, unless the server was started with other numbers. */
  readonly fixedAdam: Partial<FixedAdam>;
  /** Whether an adapter can be fetched as PEFT files. */
  readonly hasAdapterFiles: boolean;
};

const commonLosses = ['cross_entropy', 'importance_sampling', 'ppo'] as const;

/** @see SkyRL at a9564572 (August 2026), read and, for JAX, run; Tinker SDK 0.25 and TuFT 102eefd, read */
export const profiles: Readonly<Record<ServerKind, Profile>> = {
  'skyrl-jax': {
    name: 'SkyRL with its JAX backend',
    dialect: 'json',
    reduction: 'sequence-mean',
    losses: new Set(),
    isSnapshot: false,
    hasBaseSampler: true,
    isRankShared: false,
    alpha: () => 32,
    adam: new Set(['beta1', 'beta2', 'eps']),
    // Its weight decay moves every adapter on the server, not only the one that steps.
    fixedAdam: { weightDecay: 0, maxGradNorm: false },
    hasAdapterFiles: true,
  },
  'skyrl-megatron': {
    name: 'SkyRL with its Megatron backend',
    dialect: 'protobuf',
    reduction: 'token-sum',
    // Its cispo takes no bounds.
    losses: new Set(commonLosses),
    isSnapshot: false,
    hasBaseSampler: false,
    isRankShared: true,
    alpha: () => 32,
    adam: new Set(),
    fixedAdam: { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 },
    hasAdapterFiles: false,
  },
  tinker: {
    name: 'hosted Tinker',
    dialect: 'protobuf',
    reduction: 'token-sum',
    losses: new Set([...commonLosses, 'cispo']),
    isSnapshot: true,
    hasBaseSampler: true,
    isRankShared: false,
    alpha: () => 32,
    adam: new Set(['beta1', 'beta2', 'eps', 'weightDecay', 'maxGradNorm']),
    fixedAdam: {},
    hasAdapterFiles: true,
  },
  tuft: {
    name: 'TuFT',
    dialect: 'protobuf',
    reduction: 'token-sum',
    losses: new Set([...commonLosses, 'cispo']),
    isSnapshot: true,
    hasBaseSampler: true,
    isRankShared: false,
    alpha: (rank) => 2 * rank,
    adam: new Set(['beta1', 'beta2', 'eps', 'weightDecay']),
    fixedAdam: { maxGradNorm: false },
    hasAdapterFiles: true,
  },
};
