import type { Decoder } from '../../engine/decoder.ts';
import type { SamplingPool } from './sampling-pool.ts';
import type { ScoringPool } from './scoring-pool.ts';
import type { Decode } from './stop-strings.ts';
import type { WorkQueue } from './work-queue.ts';

/** What the policies and samplers of one local service share. */
export type EngineRoom = {
  readonly decoder: Decoder;
  readonly pool: SamplingPool;
  /** Scoring of sequences for samplers, together where their numbers do not depend on it. */
  readonly scoringPool: ScoringPool | undefined;
  /** Scoring one by one, where there is no pool. */
  readonly scoring: WorkQueue;
  readonly microBatchTokens: number;
  /** Whether training passes compute activations again instead of keeping them. */
  readonly isCheckpointed: boolean;
  /** What adapters name as their base model. */
  readonly modelName: string;
  /** Absent = stop strings are refused. */
  readonly decode: Decode | undefined;
  readonly wake: () => void;
  readonly countTrained: (tokens: number) => void;
  /** Told how much the process grew over each forward pass that keeps activations. */
  readonly noteActivations: (bytes: number) => void;
};
