import { roundUp, slotBlock } from '../../engine/kv-cache.ts';
import type { ModelConfig } from '../../engine/model-config.ts';
import { expectedWeights, linearShapes } from '../../engine/model-folder.ts';
import type { DType } from '../../engine/tensor.ts';

/** What a run asks of the engine, in the sizes that memory depends on. */
export type MemoryUse = {
  readonly dtype: DType;
  readonly rank: number;
  /** Policies that are trained; the reference comes on top. */
  readonly policies: number;
  /** Sequences sampled at once. */
  readonly rows: number;
  /** Tokens of the longest sequence. */
  readonly context: number;
  /** Tokens of the largest pass forward and back. */
  readonly passTokens: number;
  /** Those of them whose log-probability is wanted: each costs the width of the vocabulary. */
  readonly scoredTokens: number;
};

/** Bytes by component. */
export type MemoryPlan = {
  readonly weights: number;
  /** Every policy's adapter, and the copy of it that is sampled from. */
  readonly adapters: number;
  /** Gradients and both moments of AdamW. */
  readonly optimiser: number;
  readonly cache: number;
  readonly activations: number;
};

const floatBytes = 4;
/** Gradient and two moments for every trained number. */
const optimiserNumbers = 3;
/**
 * What a layer keeps for the way back, in numbers per token: so many widths of each kind, counted in `decoder.ts` without the
 * addon's kernels, which keep less.
 */
const kept = { hidden: 6, heads: 4, intermediate: 4 };
/** Scores, log-softmax, their two gradients and the probabilities for the entropy; one on the CPU. */
const vocabularyWidths = 5;

/** Memory of a run in the in-process engine, in bytes. The cache counts every row at its longest. */
export function planMemory(config: ModelConfig, use: MemoryUse): MemoryPlan {
  const elementBytes = use.dtype === 'float32' ? floatBytes : 2;
  const weights = [...expectedWeights(config).values()].reduce(
    (sum, shape) => sum + shape.reduce((product, size) => product * size, 1),
    0,
  );
  const adapter = adapterNumbers(config, use.rank);
  const keyValues = 2 * config.layers * config.keyValueHeads * config.headDim;
  return {
    weights: weights * elementBytes,
    adapters: 2 * use.policies * adapter * floatBytes,
    optimiser: optimiserNumbers * use.policies * adapter * floatBytes,
    cache: roundUp(use.rows, slotBlock) * use.context * keyValues * elementBytes,
    activations: activationBytes(config, use, elementBytes),
  };
}

/** A pair of low-rank matrices for every linear module of every layer. */
function adapterNumbers(config: ModelConfig, rank: number): number {
  const perLayer = [...linearShapes(config).values()].reduce(
    (sum, [outputs, inputs]) => sum + rank * (outputs + inputs),
    0,
  );
  return config.layers * perLayer;
}

function activationBytes(config: ModelConfig, use: MemoryUse, elementBytes: number): number {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim, layers, vocabSize } = config;
  const perLayer =
    kept.hidden * hiddenSize +
    kept.heads * (heads + keyValueHeads) * headDim +
    kept.intermediate * intermediateSize;
  const layersBytes = use.passTokens * layers * perLayer * elementBytes;
  return layersBytes + use.scoredTokens * vocabularyWidths * vocabSize * floatBytes;
}

/** The sum of all components, bytes. */
export function totalMemory(plan: MemoryPlan): number {
  return Object.values(plan).reduce((sum, bytes) => sum + bytes, 0);
}
