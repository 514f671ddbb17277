import { z } from 'zod';
import { BoundaryError } from '../errors.ts';

/** The families that share one decoder; they differ in biases and in norms of queries and keys. */
export type Architecture = 'qwen3' | 'qwen2' | 'llama' | 'mistral';

/** How rotary frequencies are stretched beyond the positions a model was first trained on. */
export type RopeScaling =
  | { readonly kind: 'none' }
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    };

/** Everything a decoder needs to know of a model; sizes count elements. */
export type ModelConfig = {
  readonly architecture: Architecture;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Width of one head; `heads * headDim` need not be `hiddenSize`. */
  readonly headDim: number;
  readonly maxPositions: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  readonly rmsNormEps: number;
  /** Standard deviation of fresh matrices. */
  readonly initializerRange: number;
  /** The output projection is the token embedding. */
  readonly tieWordEmbeddings: boolean;
  /** Biases on the query, key and value projections. */
  readonly attentionBias: boolean;
  /** A bias on the attention's output projection. */
  readonly outputBias: boolean;
  /** RMS norms over `headDim` on queries and keys, before the rotation. */
  readonly qkNorm: boolean;
  /** Type of the stored weights. */
  readonly dtype: 'float32' | 'float16' | 'bfloat16';
  readonly eosTokenIds: readonly number[];
};

const count = z.number().int().positive();
const optionalCount = count.nullish();

const ropeSchema = z.looseObject({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: z.number().positive().nullish(),
  factor: z.number().positive().nullish(),
  low_freq_factor: z.number().positive().nullish(),
  high_freq_factor: z.number().positive().nullish(),
  original_max_position_embeddings: optionalCount,
  partial_rotary_factor: z.number().nullish(),
});

const configSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: optionalCount,
  head_dim: optionalCount,
  max_position_embeddings: count,
  rms_norm_eps: z.number().positive(),
  initializer_range: z.number().positive().nullish(),
  hidden_act: z.string().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  sliding_window: z.number().nullish(),
  use_sliding_window: z.boolean().nullish(),
  layer_types: z.array(z.string()).nullish(),
  quantization_config: z.unknown().optional(),
  torch_dtype: z.string().nullish(),
  dtype: z.string().nullish(),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
});

type RawConfig = z.infer<typeof configSchema>;
type RawRope = z.infer<typeof ropeSchema>;

const architectureOfModelType: Readonly<Record<string, Architecture>> = {
  qwen3: 'qwen3',
  qwen2: 'qwen2',
  llama: 'llama',
  mistral: 'mistral',
};

/**
 * Reads a `config.json` of a Hugging Face folder, in the form of transformers 4 or 5.
 *
 * @param json the parsed file
 * @param where the file's path, for messages
 * @throws BoundaryError("engine") naming the field when something is missing or not supported
 */
export function parseModelConfig(json: unknown, where: string): ModelConfig {
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) {
    refuseArchitecture(json, where);
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new BoundaryError(
      'engine',
      `${where} is not a model configuration: ${issues.join('; ')}`,
    );
  }
  const raw = parsed.data;
  const architecture = refuseArchitecture(raw, where);
  refuseUnsupported(raw, architecture, where);
  const heads = raw.num_attention_heads;
  const config: ModelConfig = {
    architecture,
    vocabSize: raw.vocab_size,
    hiddenSize: raw.hidden_size,
    intermediateSize: raw.intermediate_size,
    layers: raw.num_hidden_layers,
    heads,
    keyValueHeads: raw.num_key_value_heads ?? heads,
    headDim: raw.head_dim ?? defaultHeadDim(raw, architecture),
    maxPositions: raw.max_position_embeddings,
    ropeTheta: raw.rope_parameters?.rope_theta ?? raw.rope_theta ?? 10_000,
    ropeScaling: parseRope(raw, where),
    rmsNormEps: raw.rms_norm_eps,
    tieWordEmbeddings: raw.tie_word_embeddings ?? false,
    ...biasesOf(raw, architecture),
    qkNorm: architecture === 'qwen3',
    initializerRange: raw.initializer_range ?? 0.02,
    dtype: parseDtype(raw.dtype ?? raw.torch_dtype ?? 'float32', where),
    eosTokenIds:
      typeof raw.eos_token_id === 'number' ? [raw.eos_token_id] : (raw.eos_token_id ?? []),
  };
  checkSizes(config, where);
  return config;
}

/** Before the schema runs: "Gemma is not supported" helps more than a list of missing fields. */
function refuseArchitecture(json: unknown, where: string): Architecture {
  const modelType =
    typeof json === 'object' && json !== null && 'model_type' in json ? json.model_type : undefined;
  const architecture =
    typeof modelType === 'string' && Object.hasOwn(architectureOfModelType, modelType)
      ? architectureOfModelType[modelType]
      : undefined;
  if (architecture === undefined) {
    const known = Object.keys(architectureOfModelType).join(', ');
    throw new BoundaryError(
      'engine',
      `${where}: model_type ${JSON.stringify(modelType)} is not supported; supported are ${known}`,
    );
  }
  return architecture;
}

function refuseUnsupported(raw: RawConfig, architecture: Architecture, where: string): void {
  const refuse = (what: string): never => {
    throw new BoundaryError('engine', `${where}: ${what} is not supported`);
  };
  const activation = raw.hidden_act ?? 'silu';
  if (activation !== 'silu' && activation !== 'swish') {
    refuse(`hidden_act "${activation}" (expected "silu")`);
  }
  if (raw.quantization_config !== undefined && raw.quantization_config !== null) {
    refuse('a quantised model (quantization_config); use the unquantised weights, it');
  }
  if (typeof raw.num_experts === 'number' || typeof raw.num_local_experts === 'number') {
    refuse('a mixture of experts');
  }
  if (raw.mlp_bias === true) refuse('mlp_bias: true');
  const windowed = raw.layer_types?.find((type) => type !== 'full_attention');
  if (windowed !== undefined) refuse(`layer_types with "${windowed}"`);
  // Qwen files carry a window that is off; Mistral's is on wherever it is a number.
  const window = raw.sliding_window ?? undefined;
  const windowOn = raw.use_sliding_window ?? architecture === 'mistral';
  if (windowOn && window !== undefined && window < raw.max_position_embeddings) {
    refuse(`a sliding window of ${window} over ${raw.max_position_embeddings} positions`);
  }
}

/** Qwen3's own default differs from the quotient that the other families use. */
function defaultHeadDim(raw: RawConfig, architecture: Architecture): number {
  return architecture === 'qwen3' ? 128 : raw.hidden_size / raw.num_attention_heads;
}

function biasesOf(
  raw: RawConfig,
  architecture: Architecture,
): Pick<ModelConfig, 'attentionBias' | 'outputBias'> {
  if (architecture === 'qwen2') return { attentionBias: true, outputBias: false };
  if (architecture === 'mistral') return { attentionBias: false, outputBias: false };
  const bias = raw.attention_bias ?? false;
  return { attentionBias: bias, outputBias: bias };
}

function parseRope(raw: RawConfig, where: string): RopeScaling {
  const rope = raw.rope_parameters ?? raw.rope_scaling;
  if (rope === undefined || rope === null) return { kind: 'none' };
  const layerType = Object.entries(rope).find(([, value]) => isPlainObject(value));
  if (layerType !== undefined) {
    throw new BoundaryError(
      'engine',
      `${where}: rotary positions of their own for layers of type "${layerType[0]}" are not supported`,
    );
  }
  const partial = rope.partial_rotary_factor ?? 1;
  if (partial !== 1) {
    throw new BoundaryError(
      'engine',
      `${where}: partial_rotary_factor ${partial} is not supported (expected 1)`,
    );
  }
  const kind = rope.rope_type ?? rope.type ?? 'default';
  if (kind === 'default') return { kind: 'none' };
  if (kind === 'linear') return { kind: 'linear', factor: ropeNumber(rope, 'factor', where) };
  if (kind === 'llama3') {
    return {
      kind: 'llama3',
      factor: ropeNumber(rope, 'factor', where),
      lowFreqFactor: ropeNumber(rope, 'low_freq_factor', where),
      highFreqFactor: ropeNumber(rope, 'high_freq_factor', where),
      originalMaxPositions: ropeNumber(rope, 'original_max_position_embeddings', where),
    };
  }
  throw new BoundaryError(
    'engine',
    `${where}: rope type "${kind}" is not supported; supported are default, linear and llama3`,
  );
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function ropeNumber(
  rope: RawRope,
  field: 'factor' | 'low_freq_factor' | 'high_freq_factor' | 'original_max_position_embeddings',
  where: string,
): number {
  const value = rope[field];
  if (typeof value === 'number') return value;
  throw new BoundaryError(
    'engine',
    `${where}: rope type "${rope.rope_type ?? rope.type}" needs a number ${field}, which is missing`,
  );
}

function parseDtype(dtype: string, where: string): ModelConfig['dtype'] {
  if (dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16') return dtype;
  throw new BoundaryError(
    'engine',
    `${where}: dtype "${dtype}" is not supported; supported are float32, float16 and bfloat16`,
  );
}

function checkSizes(config: ModelConfig, where: string): void {
  if (config.heads % config.keyValueHeads !== 0) {
    throw new BoundaryError(
      'engine',
      `${where}: num_attention_heads ${config.heads} is not a multiple of num_key_value_heads ${config.keyValueHeads}`,
    );
  }
  if (config.headDim % 2 !== 0) {
    throw new BoundaryError(
      'engine',
      `${where}: head_dim ${config.headDim} is not an even integer, which rotary positions need`,
    );
  }
}

const architectureClass: Readonly<Record<Architecture, string>> = {
  qwen3: 'Qwen3ForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
};

/** The contents of a `config.json` that transformers 4 and 5 both load as this model. */
export function toHuggingFaceConfig(config: ModelConfig): Record<string, unknown> {
  const scaling = toRopeFields(config.ropeScaling);
  return {
    architectures: [architectureClass[config.architecture]],
    model_type: config.architecture,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.rmsNormEps,
    hidden_act: 'silu',
    tie_word_embeddings: config.tieWordEmbeddings,
    ...(config.architecture === 'qwen3' || config.architecture === 'llama'
      ? { attention_bias: config.attentionBias }
      : {}),
    ...(config.architecture === 'mistral' ? { sliding_window: null } : {}),
    rope_theta: config.ropeTheta,
    rope_scaling: scaling,
    rope_parameters: {
      rope_theta: config.ropeTheta,
      ...(scaling ?? { rope_type: 'default' }),
    },
    initializer_range: config.initializerRange,
    torch_dtype: config.dtype,
    dtype: config.dtype,
    eos_token_id: config.eosTokenIds.length === 1 ? config.eosTokenIds[0] : eosList(config),
  };
}

function eosList(config: ModelConfig): readonly number[] | null {
  return config.eosTokenIds.length === 0 ? null : config.eosTokenIds;
}

function toRopeFields(scaling: RopeScaling): Record<string, unknown> | null {
  if (scaling.kind === 'none') return null;
  if (scaling.kind === 'linear') return { rope_type: 'linear', factor: scaling.factor };
  return {
    rope_type: 'llama3',
    factor: scaling.factor,
    low_freq_factor: scaling.lowFreqFactor,
    high_freq_factor: scaling.highFreqFactor,
    original_max_position_embeddings: scaling.originalMaxPositions,
  };
}
