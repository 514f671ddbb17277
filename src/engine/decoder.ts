import { BoundaryError } from '../errors.ts';
import { aten, hasOperator } from './aten.ts';
import { requireGrad } from './autograd.ts';
import { type LinearGroup, type LoraRows, linearGroups, productOf } from './lora.ts';
import type { ModelConfig } from './model-config.ts';
import { expectedWeights } from './model-folder.ts';
import {
  add,
  concat,
  convert,
  indexSelect,
  linear,
  multiply,
  narrow,
  reshape,
  silu,
  split,
} from './ops.ts';
import { RotaryTable, type Rotation, rotate } from './rotary.ts';
import { keep, tidy } from './scope.ts';
import { type Device, type DType, indexTensor, type Tensor } from './tensor.ts';
import { tracedGate, tracedHeads, tracedNorm } from './traced-pass.ts';

type Linear = { readonly weight: Tensor; readonly bias: Tensor | undefined };

/** One layer's weights; modules with the same input are stored as one matrix. */
type LayerWeights = {
  readonly inputNorm: Tensor;
  readonly postAttentionNorm: Tensor;
  readonly linears: Readonly<Record<LinearGroup, Linear>>;
  /** [2 · headDim]: gains of the norm on queries, then of that on keys; absent without them. */
  readonly qkNorm: Tensor | undefined;
};

/** A decoder-only transformer: Qwen3, Qwen2, Llama and Mistral differ in a few facts of the config. */
export type Decoder = {
  readonly config: ModelConfig;
  readonly dtype: DType;
  readonly device: Device;
  readonly embedding: Tensor;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: Tensor;
  /** [vocabSize, hiddenSize]; the embedding itself when the two are tied. */
  readonly head: Tensor;
  readonly rotary: RotaryTable;
  /** int64 [heads + keyValueHeads]: 0 for each query head, then 1 for each key head. */
  readonly headKinds: Tensor;
  /**
   * Whether it runs on the addon's own kernels: float32 on the CPU, sizes that fill vectors or halves of them. In sampling a row's bits
   * then depend on its own sequence alone: not on the batch, on how the sequence was cut into passes, nor on the threads.
   */
  readonly hasKernels: boolean;
  /** Hugging Face name → weight, sharing memory with the tensors above. */
  readonly weights: ReadonlyMap<string, Tensor>;
};

/**
 * Builds a decoder out of weights, which it takes over and frees.
 *
 * @param weights one per name of `expectedWeights`, all of one dtype on one device
 * @throws BoundaryError("engine") naming a missing weight
 */
export function createDecoder(config: ModelConfig, weights: ReadonlyMap<string, Tensor>): Decoder {
  for (const name of expectedWeights(config).keys()) {
    if (!weights.has(name))
      throw new BoundaryError('engine', `the model has no weight named ${name}`);
  }
  return tidy(() => {
    const views = new Map<string, Tensor>();
    const join = (names: readonly string[]): Tensor => joinWeights(weights, names, views);
    const embedding = join(['model.embed_tokens.weight']);
    const layers = Array.from({ length: config.layers }, (_, layer) =>
      createLayer(config, `model.layers.${layer}.`, join),
    );
    const placement = { dtype: embedding.dtype, device: embedding.device };
    const decoder: Decoder = {
      config,
      ...placement,
      hasKernels: runsOnKernels(config, placement),
      embedding,
      layers,
      finalNorm: join(['model.norm.weight']),
      head: config.tieWordEmbeddings ? embedding : join(['lm_head.weight']),
      rotary: new RotaryTable(config, placement),
      headKinds: keep(
        indexTensor(headKindsOf(config), [config.heads + config.keyValueHeads], placement.device),
      ),
      weights: views,
    };
    for (const tensor of views.values()) keep(tensor);
    for (const tensor of decoderParameters(decoder).values()) keep(tensor);
    for (const tensor of weights.values()) tensor.dispose();
    return decoder;
  });
}

/** Half a vector of the kernels holds this many elements. */
const halfLanes = 8;

/** Whether a decoder of these sizes would run on the addon's kernels. */
export function runsOnKernels(
  { hiddenSize, intermediateSize, headDim }: ModelConfig,
  { dtype, device }: { readonly dtype: DType; readonly device: Device },
): boolean {
  const sizes = [hiddenSize, intermediateSize, headDim];
  return dtype === 'float32' && device === 'cpu' && sizes.every((size) => size % halfLanes === 0);
}

function headKindsOf(config: ModelConfig): number[] {
  return [...Array<number>(config.heads).fill(0), ...Array<number>(config.keyValueHeads).fill(1)];
}

/** One matrix of all `names`, stacked along the first axis; each name becomes a view of it. */
function joinWeights(
  weights: ReadonlyMap<string, Tensor>,
  names: readonly string[],
  views: Map<string, Tensor>,
): Tensor {
  const parts = names.flatMap((name) => weights.get(name) ?? []);
  const sizes = parts.map(({ shape }) => shape[0] ?? 0);
  const [only] = parts;
  const joined = parts.length === 1 && only ? aten('alias', only) : concat(parts, 0);
  // At once, not when all are joined: a model would stand in memory twice.
  for (const part of parts) part.dispose();
  let row = 0;
  for (const [index, name] of names.entries()) {
    const rows = sizes[index] ?? 0;
    views.set(name, aten('detach', narrow(joined, 0, row, rows)));
    row += rows;
  }
  return joined;
}

function createLayer(
  config: ModelConfig,
  prefix: string,
  join: (names: readonly string[]) => Tensor,
): LayerWeights {
  const group = (modules: readonly string[], hasBias: boolean): Linear => ({
    weight: join(modules.map((module) => `${prefix}${module}.weight`)),
    bias: hasBias ? join(modules.map((module) => `${prefix}${module}.bias`)) : undefined,
  });
  return {
    inputNorm: join([`${prefix}input_layernorm.weight`]),
    postAttentionNorm: join([`${prefix}post_attention_layernorm.weight`]),
    linears: {
      qkv: group(linearGroups.qkv, config.attentionBias),
      output: group(linearGroups.output, config.outputBias),
      gateUp: group(linearGroups.gateUp, false),
      down: group(linearGroups.down, false),
    },
    qkNorm: config.qkNorm
      ? join([`${prefix}self_attn.q_norm.weight`, `${prefix}self_attn.k_norm.weight`])
      : undefined,
  };
}

/** The tensors that full fine-tuning trains, by name; modules that are stored as one matrix are one parameter. */
export function decoderParameters(decoder: Decoder): ReadonlyMap<string, Tensor> {
  const parameters = new Map<string, Tensor>([['model.embed_tokens.weight', decoder.embedding]]);
  for (const [index, layer] of decoder.layers.entries()) {
    const prefix = `model.layers.${index}.`;
    parameters.set(`${prefix}input_layernorm.weight`, layer.inputNorm);
    parameters.set(`${prefix}post_attention_layernorm.weight`, layer.postAttentionNorm);
    for (const [group, { weight, bias }] of Object.entries(layer.linears)) {
      parameters.set(`${prefix}${group}.weight`, weight);
      if (bias !== undefined) parameters.set(`${prefix}${group}.bias`, bias);
    }
    if (layer.qkNorm !== undefined) parameters.set(`${prefix}qk_norm.weight`, layer.qkNorm);
  }
  parameters.set('model.norm.weight', decoder.finalNorm);
  if (decoder.head !== decoder.embedding) parameters.set('lm_head.weight', decoder.head);
  return parameters;
}

/** Makes every weight of the base collect gradients: full fine-tuning. */
export function trainDecoder(decoder: Decoder): ReadonlyMap<string, Tensor> {
  const parameters = decoderParameters(decoder);
  for (const tensor of parameters.values()) requireGrad(tensor);
  return parameters;
}

export function disposeDecoder(decoder: Decoder): void {
  for (const tensor of decoderParameters(decoder).values()) tensor.dispose();
  for (const tensor of decoder.weights.values()) tensor.dispose();
  decoder.headKinds.dispose();
  decoder.rotary.dispose();
}

/**
 * What attention sees of one layer; queries and keys are rotated. Queries [tokens, heads, headDim]; keys and values
 * [tokens, keyValueHeads, headDim] or, of a decoder with kernels, as queries: repeated for each query that sees them.
 */
export type LayerHeads = { readonly query: Tensor; readonly key: Tensor; readonly value: Tensor };

/** Tokens in flat order, and how they attend to one another. */
export type Pass = {
  /** int64 or int32 [tokens] */
  readonly tokens: Tensor;
  readonly rotation: Rotation;
  readonly lora: LoraRows | undefined;
  /** @returns [tokens, heads · headDim] */
  readonly attend: (layer: number, heads: LayerHeads) => Tensor;
  /** int64 [wanted], ascending: tokens whose hidden state is read; absent = all. In the last layer others end at attention. */
  readonly wanted?: Tensor;
};

/**
 * Runs all layers.
 *
 * @returns hidden states before the final norm, [tokens, hiddenSize] or [wanted, hiddenSize]. Caller frees
 */
export function runLayers(decoder: Decoder, pass: Pass): Tensor {
  const start = embedTokens(decoder, pass);
  return decoder.layers.reduce((hidden, _, layer) => runLayer(decoder, pass, layer, hidden), start);
}

/** What the first layer reads: [tokens, hiddenSize]. Caller frees. */
export function embedTokens(decoder: Decoder, pass: Pass): Tensor {
  return aten('embedding', decoder.embedding, pass.tokens);
}

/** One layer of `runLayers`. Caller frees. */
export function runLayer(decoder: Decoder, pass: Pass, index: number, hidden: Tensor): Tensor {
  const layer = decoder.layers[index] as LayerWeights;
  const norm = normOf(decoder);
  const isLast = index === decoder.layers.length - 1;
  const places = isLast ? pass.wanted : undefined;
  const read = (rows: Tensor): Tensor => (places ? indexSelect(rows, 0, places) : rows);
  const project = (group: LinearGroup, input: Tensor, residual?: Tensor): Tensor => {
    const base = { ...layer.linears[group], input, residual };
    const chosen = group === 'qkv' ? undefined : places;
    return productOf({ ...base, places: chosen }, pass.lora, { layer: index, group });
  };
  const qkv = project('qkv', rmsNorm(hidden, layer.inputNorm, norm));
  const heads = splitHeads(decoder, layer, qkv, pass.rotation);
  const attended = project('output', read(pass.attend(index, heads)), read(hidden));
  const gateUp = project('gateUp', rmsNorm(attended, layer.postAttentionNorm, norm));
  return project('down', gate(decoder, gateUp), attended);
}

function gate({ config, hasKernels }: Decoder, gateUp: Tensor): Tensor {
  if (hasKernels) return tracedGate(gateUp);
  const width = config.intermediateSize;
  return multiply(silu(narrow(gateUp, 1, 0, width)), narrow(gateUp, 1, width, width));
}

function normOf({ config, hasKernels }: Decoder): Norm {
  return { size: config.hiddenSize, eps: config.rmsNormEps, hasKernels };
}

function splitHeads(
  decoder: Decoder,
  layer: LayerWeights,
  qkv: Tensor,
  rotation: Rotation,
): LayerHeads {
  const { heads, keyValueHeads, headDim, rmsNormEps: eps } = decoder.config;
  if (decoder.hasKernels) {
    const plan = { heads, keyValueHeads, gains: layer.qkNorm, eps };
    const [query, key, value] = tracedHeads(qkv, rotation, plan);
    return { query, key, value };
  }
  const all = reshape(qkv, [-1, heads + 2 * keyValueHeads, headDim]);
  const unrotated = narrow(all, 1, 0, heads + keyValueHeads);
  const normed = normHeads(decoder, layer, unrotated);
  const rotated = rotate(normed, rotation, headDim);
  const [query, key] = split(rotated, [heads, keyValueHeads], 1) as [Tensor, Tensor];
  return { query, key, value: narrow(all, 1, heads + keyValueHeads, keyValueHeads) };
}

function normHeads(decoder: Decoder, layer: LayerWeights, heads: Tensor): Tensor {
  if (layer.qkNorm === undefined) return heads;
  const { headDim, rmsNormEps } = decoder.config;
  const gains = indexSelect(reshape(layer.qkNorm, [2, headDim]), 0, decoder.headKinds);
  const norm = { size: headDim, eps: rmsNormEps, hasKernels: false };
  return multiply(rmsNorm(heads, undefined, norm), gains);
}

let hasRmsNorm: boolean | undefined;

type Norm = { readonly size: number; readonly eps: number; readonly hasKernels: boolean };

/** x / √(mean(x²) + eps) over the last axis, of `size` elements, times `weight`. */
function rmsNorm(input: Tensor, weight: Tensor | undefined, norm: Norm): Tensor {
  const { size, eps } = norm;
  if (norm.hasKernels && weight !== undefined) return tracedNorm(input, weight, eps);
  hasRmsNorm ??= hasOperator('rms_norm');
  if (hasRmsNorm) return aten('rms_norm', input, [size], weight ?? null, eps);
  const meanSquare = aten('mean.dim', multiply(input, input), [-1], true);
  const normed = multiply(input, aten('rsqrt', add(meanSquare, eps)));
  return weight === undefined ? normed : multiply(normed, weight);
}

/**
 * Hidden states as heads read them.
 *
 * @param hidden [tokens, hiddenSize] of `runLayers`
 * @returns the same shape. Caller frees
 */
export function normFinal(decoder: Decoder, hidden: Tensor): Tensor {
  return rmsNorm(hidden, decoder.finalNorm, normOf(decoder));
}

/**
 * Scores of the next token.
 *
 * @param normed [tokens, hiddenSize] of `normFinal`
 * @returns float32 [tokens, vocabSize]. Caller frees
 */
export function logitsOfNormed(decoder: Decoder, normed: Tensor): Tensor {
  const logits = linear(normed, decoder.head);
  return decoder.dtype === 'float32' ? logits : convert(logits, { dtype: 'float32' });
}

/**
 * Scores of the next token.
 *
 * @param hidden [tokens, hiddenSize] of `runLayers`
 * @returns float32 [tokens, vocabSize]. Caller frees
 */
export function logitsOf(decoder: Decoder, hidden: Tensor): Tensor {
  return logitsOfNormed(decoder, normFinal(decoder, hidden));
}
