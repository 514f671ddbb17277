// The forward pass of sampling on the CPU: rows of any sequences, each at its own position, over the cache.
import type { AdapterRun } from './adapter-runs.ts';
import { aten } from './aten.ts';
import type { Decoder } from './decoder.ts';
import { type LinearGroup, scaleOf } from './lora.ts';
import { callNative } from './native.ts';
import { tidy } from './scope.ts';
import type { SequenceCache } from './sequence-cache.ts';
import { Tensor } from './tensor.ts';

/** Tokens of sequences in the cache, in flat order; a sequence's earlier tokens are in the cache or among them. */
export type CachedRows = {
  /** int64 [rows] */
  readonly tokens: Tensor;
  /** int64 [rows]: index of the token in its sequence. */
  readonly positions: Tensor;
  /** int64 [rows]: the place of its key and value in the cache. */
  readonly places: Tensor;
  /** All positions are smaller. */
  readonly length: number;
  /** Rows outside of all runs are under the base alone. */
  readonly lora: readonly AdapterRun[];
};

type Layer = Decoder['layers'][number];

/**
 * Runs all layers of a decoder with kernels and stores the rows' keys and values; nothing is recorded for `backward`.
 *
 * @returns hidden states [rows, hiddenSize] before the final norm. Caller frees
 */
export function runCachedRows(decoder: Decoder, cache: SequenceCache, rows: CachedRows): Tensor {
  let hidden = aten('embedding', decoder.embedding, rows.tokens);
  for (let layer = 0; layer < decoder.layers.length; layer++) {
    const before = hidden;
    hidden = tidy(() => runLayer(decoder, cache, rows, { layer, hidden: before }));
    before.dispose();
  }
  return hidden;
}

function runLayer(
  decoder: Decoder,
  cache: SequenceCache,
  rows: CachedRows,
  { layer: index, hidden }: { readonly layer: number; readonly hidden: Tensor },
): Tensor {
  const layer = decoder.layers[index] as Layer;
  const eps = decoder.config.rmsNormEps;
  const project = (group: LinearGroup, input: Tensor, residual?: Tensor): Tensor => {
    const product = { ...layer.linears[group], input, residual };
    return rowLinear(product, loraOf(rows.lora, { layer: index, group }));
  };
  const qkv = project('qkv', rowNorm(hidden, layer.inputNorm, eps));
  const { keys, values } = cache.store(index);
  const { cos, sin } = decoder.rotary.upTo(rows.length);
  const attended = callNative(
    'rowAttend',
    ...([qkv.handle, keys.handle, values.handle] as const),
    ...([rows.positions.handle, rows.places.handle] as const),
    ...([layer.qkNorm?.handle ?? 0, eps, cos.handle, sin.handle] as const),
  );
  const middle = project('output', new Tensor(attended), hidden);
  const gateUp = project('gateUp', rowNorm(middle, layer.postAttentionNorm, eps));
  return project('down', new Tensor(callNative('rowGate', gateUp.handle)), middle);
}

type Product = {
  readonly input: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor | undefined;
  readonly residual?: Tensor | undefined;
};

/** @param lora of the rows' adapters, as `lora_runs` of the addon reads it */
function rowLinear(
  { input, weight, bias, residual }: Product,
  lora: readonly number[] = [],
): Tensor {
  const added = [bias?.handle ?? 0, residual?.handle ?? 0] as const;
  return new Tensor(callNative('rowLinear', input.handle, weight.handle, ...added, lora));
}

function rowNorm(input: Tensor, gain: Tensor, eps: number): Tensor {
  return new Tensor(callNative('rowNorm', input.handle, gain.handle, eps));
}

/** What the rows' adapters add to a group of a layer: start, count, a, b, spans and scale for each run. */
function loraOf(
  runs: readonly AdapterRun[],
  { layer, group }: { readonly layer: number; readonly group: LinearGroup },
): readonly number[] {
  return runs.flatMap(({ bank, start, count }) => {
    const lora = bank.layers[layer]?.[group];
    if (lora === undefined) return [];
    const { a, b, spans } = lora;
    return [start, count, a.handle, b.handle, spans.handle, scaleOf(bank)];
  });
}

/** Scores of the next token, with the same bits for a row whatever the others are: float32 [rows, vocabSize]. */
export function rowLogits(decoder: Decoder, hidden: Tensor): Tensor {
  const normed = rowNorm(hidden, decoder.finalNorm, decoder.config.rmsNormEps);
  return rowLinear({ input: normed, weight: decoder.head });
}
