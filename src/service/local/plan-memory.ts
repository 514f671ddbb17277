import { runsOnKernels } from '../../engine/decoder.ts';
import { roundUp, slotBlock } from '../../engine/kv-cache.ts';
import type { ModelConfig } from '../../engine/model-config.ts';
import { expectedWeights, linearShapes } from '../../engine/model-folder.ts';
import { maxRetainedBytes } from '../../engine/row-generator.ts';
import type { Device, DType } from '../../engine/tensor.ts';

/** What a run asks of the engine, in the sizes that memory depends on. */
export type MemoryUse = {
  readonly dtype: DType;
  readonly device: Device;
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
  /** Whether activations are computed again on the way back instead of being kept. */
  readonly isCheckpointed: boolean;
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
  /** Further models: those of single agents with what is trained of them, and a coach of this engine. Their activations are above. */
  readonly others: number;
};

const floatBytes = 4;
/** Gradient and two moments for every trained number. */
const optimiserNumbers = 3;
/** What one layer holds, in numbers per token. */
type LayerNumbers = {
  /** For the way back. */
  readonly kept: number;
  /** On top of that, while its own gradients are computed. */
  readonly passing: number;
};

/** Memory of a run in the in-process engine, in bytes. The cache counts every row at its longest. */
export function planMemory(config: ModelConfig, use: MemoryUse): MemoryPlan {
  const elementBytes = use.dtype === 'float32' ? floatBytes : 2;
  const weights = [...expectedWeights(config).values()].reduce(
    (sum, shape) => sum + shape.reduce((product, size) => product * size, 1),
    0,
  );
  const adapter = adapterNumbers(config, use.rank);
  return {
    weights: weights * elementBytes,
    adapters: 2 * use.policies * adapter * floatBytes,
    optimiser: optimiserNumbers * use.policies * adapter * floatBytes,
    cache: cacheBytes(config, use, elementBytes),
    activations: activationBytes(config, use, elementBytes),
    others: 0,
  };
}

/** A model that is sampled and not trained: weights and cache, bytes. */
export function sampledMemory(config: ModelConfig, use: MemoryUse): number {
  const { weights, cache } = planMemory(config, use);
  return weights + cache;
}

/** With the kernels, finished sequences stay for a while as well. */
function cacheBytes(config: ModelConfig, use: MemoryUse, elementBytes: number): number {
  const keyValues = 2 * config.layers * config.keyValueHeads * config.headDim * elementBytes;
  const underWay = roundUp(use.rows, slotBlock) * use.context * keyValues;
  return underWay + (runsOnKernels(config, use) ? Math.min(underWay, maxRetainedBytes) : 0);
}

/** A pair of low-rank matrices for every linear module of every layer. */
function adapterNumbers(config: ModelConfig, rank: number): number {
  const perLayer = [...linearShapes(config).values()].reduce(
    (sum, [outputs, inputs]) => sum + rank * (outputs + inputs),
    0,
  );
  return config.layers * perLayer;
}

/**
 * The higher of two peaks: when the loss is known and every layer's numbers wait for the way back beside the logits, and when
 * the last layer computes its gradients.
 */
function activationBytes(config: ModelConfig, use: MemoryUse, elementBytes: number): number {
  const { hiddenSize, layers, vocabSize } = config;
  const { kept, passing } = runsOnKernels(config, use) ? onKernels(config) : composed(config);
  const perToken = use.isCheckpointed ? layers * hiddenSize : layers * kept;
  // What the layer above has freed is not all given back while the next one is computed again.
  const again = use.isCheckpointed ? 2 * kept : 0;
  const logits = use.scoredTokens * logitWidths(use) * vocabSize * floatBytes;
  const layer = use.passTokens * (again + passing) * elementBytes;
  return use.passTokens * perToken * elementBytes + Math.max(logits, layer);
}

/** As `decoder.ts` keeps them with the addon's kernels: each saves its inputs, and keys and values stand once per query head. */
function onKernels(config: ModelConfig): LayerNumbers {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim } = config;
  const projected = (heads + 2 * keyValueHeads) * headDim;
  return {
    kept: 4 * hiddenSize + projected + 5 * heads * headDim + 3 * intermediateSize,
    passing: 2 * hiddenSize + 3 * intermediateSize,
  };
}

/** The same of libtorch's own operators, counted and not measured. */
function composed(config: ModelConfig): LayerNumbers {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim } = config;
  return {
    kept: 6 * hiddenSize + 4 * (heads + keyValueHeads) * headDim + 4 * intermediateSize,
    passing: 2 * hiddenSize + 3 * intermediateSize,
  };
}

/** On the CPU the gradient is written over the float32 logits; else scores, log-softmax, two gradients and probabilities. */
function logitWidths({ device, dtype }: MemoryUse): number {
  if (device !== 'cpu') return 5;
  return dtype === 'float32' ? 1 : 2;
}

/** The sum of all components, bytes. */
export function totalMemory(plan: MemoryPlan): number {
  return Object.values(plan).reduce((sum, bytes) => sum + bytes, 0);
}
