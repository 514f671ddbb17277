import { AdapterBank } from './adapter-bank.ts';
import { aten } from './aten.ts';
import { attend } from './attention.ts';
import { noGrad } from './autograd.ts';
import { type Decoder, type LayerHeads, logitsOf, runLayers } from './decoder.ts';
import {
  appendDraw,
  checkRequest,
  type Generated,
  type GenerationRequest,
  type GeneratorOptions,
  type Row,
  resultOf,
  type SequenceGenerator,
} from './generation.ts';
import { KvCache, positionBlock, roundUp, slotBlock } from './kv-cache.ts';
import type { LoraRows } from './lora.ts';
import { arange, indexSelect, narrow, reshape, zeros } from './ops.ts';
import { attendCausal } from './pack-rows.ts';
import { type Draw, drawTokens, planSampling, type SamplingPlan } from './sampling.ts';
import { keep, tidy } from './scope.ts';
import { indexTensor, type Tensor } from './tensor.ts';

/** Prompts are padded to a multiple of this many tokens. */
const prefillBlock = 16;

/** What a decode step needs, rebuilt only when rows come or go. */
type Composition = {
  readonly rows: number;
  readonly tokens: Tensor;
  /** int64 [rows]: index of the token that is fed. */
  readonly positions: Tensor;
  /** int64 [rows]: where its key and value are stored. */
  readonly flatRows: Tensor;
  readonly lora: LoraRows | undefined;
  readonly plan: SamplingPlan;
};

/**
 * The generator of any device and dtype: one `step` is one prefill or one token for every row.
 *
 * A sequence's tokens and log-probabilities are bit-identical whatever else is in the batch (same machine, same number
 * of threads): every row keeps its own slot from position 0, shapes are padded to fixed multiples, and chance comes
 * from the row's seed and position alone.
 */
export class PaddedGenerator implements SequenceGenerator {
  readonly #decoder: Decoder;
  readonly #options: { readonly maxRows: number; readonly maxPrefillTokens: number };
  readonly #cache: KvCache;
  readonly #adapters: AdapterBank;
  readonly #waiting: Row[] = [];
  /** Row i uses slot i of the cache. */
  readonly #active: Row[] = [];
  #nextId = 1;
  #prefilled = 0;
  #composition: Composition | undefined;
  #keyIndices: Tensor | undefined;

  constructor(decoder: Decoder, options: GeneratorOptions = {}) {
    // The cache holds a key once, not once for each query that sees it as the kernels do.
    this.#decoder = { ...decoder, hasKernels: false };
    this.#options = { maxRows: 64, maxPrefillTokens: 4096, ...options };
    this.#cache = new KvCache(decoder);
    this.#adapters = new AdapterBank(decoder);
  }

  get pending(): number {
    return this.#waiting.length + this.#active.length;
  }

  get prefilled(): number {
    return this.#prefilled;
  }

  get cacheBytes(): number {
    return this.#cache.bytes;
  }

  submit(request: GenerationRequest): number {
    checkRequest(request, this.#decoder);
    const id = this.#nextId++;
    this.#waiting.push({ id, request, tokens: [], logprobs: [], behaviour: [], cached: 0 });
    return id;
  }

  cancel(id: number): void {
    const waiting = this.#waiting.findIndex((row) => row.id === id);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    const slot = this.#active.findIndex((row) => row.id === id);
    if (slot >= 0) this.#vacate(slot);
  }

  /** Prefills waiting prompts where there is room, else samples one token for every active row. */
  step(): readonly Generated[] {
    const hasRoom = this.#active.length < this.#options.maxRows;
    if (this.#waiting.length > 0 && hasRoom) return noGrad(() => tidy(() => this.#prefill()));
    if (this.#active.length > 0) return noGrad(() => tidy(() => this.#decode()));
    return [];
  }

  dispose(): void {
    this.#waiting.length = 0;
    this.#active.length = 0;
    this.#dropComposition();
    this.#cache.dispose();
    this.#keyIndices?.dispose();
    this.#keyIndices = undefined;
    this.#adapters.dispose();
  }

  #prefill(): readonly Generated[] {
    const { rows, length } = this.#takePrompts();
    const firstSlot = this.#active.length;
    this.#active.push(...rows);
    this.#dropComposition();
    this.#cache.reserve(roundUp(this.#active.length, slotBlock), length);
    const hidden = this.#runPrompts(rows, length, firstSlot);
    const padded = fillBlock(rows);
    const last = padded.map((row) => rows.indexOf(row) * length + row.request.prompt.length - 1);
    const selected = indexSelect(hidden, 0, indexTensor(last, [last.length], this.#decoder.device));
    const plan = this.#plan(padded);
    const positions = padded.map(({ request }) => request.prompt.length);
    for (const row of rows) {
      row.cached = row.request.prompt.length;
      this.#prefilled += row.cached;
    }
    return this.#record(drawTokens(logitsOf(this.#decoder, selected), plan, positions), firstSlot);
  }

  /** The oldest waiting request and others whose padded prompts are as long, as many as fit. */
  #takePrompts(): { readonly rows: Row[]; readonly length: number } {
    const paddedLength = (row: Row) => roundUp(row.request.prompt.length, prefillBlock);
    const length = paddedLength(this.#waiting[0] as Row);
    const byTokens = Math.max(1, Math.floor(this.#options.maxPrefillTokens / length));
    const room = Math.min(byTokens, this.#options.maxRows - this.#active.length);
    const rows = this.#waiting.filter((row) => paddedLength(row) === length).slice(0, room);
    for (const row of rows) this.#waiting.splice(this.#waiting.indexOf(row), 1);
    return { rows, length };
  }

  #runPrompts(rows: readonly Row[], length: number, firstSlot: number): Tensor {
    const { device } = this.#decoder;
    const total = rows.length * length;
    const tokens = new Int32Array(total);
    for (const [row, { request }] of rows.entries()) tokens.set(request.prompt, row * length);
    const positions = Int32Array.from(tokens, (_, at) => at % length);
    const stride = this.#cache.positions;
    const flatRows = positions.map(
      (position, at) => (firstSlot + Math.floor(at / length)) * stride + position,
    );
    const flatIndex = indexTensor(flatRows, [total], device);
    const owners = rows.flatMap((row) => Array<Row>(length).fill(row));
    return runLayers(this.#decoder, {
      tokens: indexTensor(tokens, [total], device),
      rotation: this.#decoder.rotary.at(indexTensor(positions, [total], device), length),
      lora: this.#loraOf(owners),
      attend: (layer, heads) => {
        this.#cache.write(layer, heads, flatIndex);
        return attendCausal({ rows: rows.length, length }, heads);
      },
    });
  }

  #decode(): readonly Generated[] {
    const longest = this.#active.reduce((most, { cached }) => Math.max(most, cached + 1), 0);
    const moved = this.#cache.reserve(roundUp(this.#active.length, slotBlock), longest);
    if (moved) this.#dropComposition();
    this.#composition ??= this.#compose();
    const composition = this.#composition;
    composition.tokens.copyFrom(lastTokens(this.#active, composition.rows));
    const length = roundUp(longest, positionBlock);
    const mask = this.#visible(composition, length);
    const hidden = runLayers(this.#decoder, {
      tokens: composition.tokens,
      rotation: this.#decoder.rotary.at(composition.positions, length),
      lora: composition.lora,
      attend: (layer, heads) => this.#attendCached(layer, heads, { composition, length, mask }),
    });
    for (const row of this.#active) row.cached++;
    aten('add_.Scalar', composition.positions, 1);
    aten('add_.Scalar', composition.flatRows, 1);
    const positions = this.#active.map(({ cached }) => cached);
    return this.#record(
      drawTokens(logitsOf(this.#decoder, hidden), composition.plan, positions),
      0,
    );
  }

  #attendCached(
    layer: number,
    heads: LayerHeads,
    step: { readonly composition: Composition; readonly length: number; readonly mask: Tensor },
  ): Tensor {
    const { composition, length, mask } = step;
    this.#cache.write(layer, heads, composition.flatRows);
    const stored = this.#cache.view(layer, composition.rows, length);
    // Query heads that share a key head stand as its queries, so that keys need not be repeated.
    const { keyValueHeads, heads: queryHeads, headDim } = this.#decoder.config;
    const shape = [composition.rows, keyValueHeads, queryHeads / keyValueHeads, headDim];
    const attended = attend(
      { query: reshape(heads.query, shape), ...stored },
      { kind: 'mask', mask },
    );
    return reshape(attended, [composition.rows, queryHeads * headDim]);
  }

  /** [rows, 1, 1, length]: 0 for a row's own tokens, −∞ for what lies behind them. */
  #visible({ positions, rows }: Composition, length: number): Tensor {
    if (this.#keyIndices === undefined || (this.#keyIndices.shape[0] ?? 0) < length) {
      this.#keyIndices?.dispose();
      this.#keyIndices = keep(arange(2 * length, { device: this.#decoder.device }));
    }
    const indices = narrow(this.#keyIndices, 0, 0, length);
    const isHidden = aten('gt.Tensor', indices, reshape(positions, [rows, 1, 1, 1]));
    const { dtype, device } = this.#decoder;
    const visible = zeros([rows, 1, 1, length], { dtype, device });
    return aten('masked_fill_.Scalar', visible, isHidden, Number.NEGATIVE_INFINITY);
  }

  #compose(): Composition {
    const { device } = this.#decoder;
    const rows = roundUp(this.#active.length, slotBlock);
    const padded = fillBlock(this.#active);
    const positions = padded.map(({ cached }, slot) => (slot < this.#active.length ? cached : 0));
    const flatRows = positions.map((position, slot) => slot * this.#cache.positions + position);
    const lora = this.#loraOf(padded);
    if (typeof lora?.factors === 'object') for (const tensor of lora.factors.values()) keep(tensor);
    const plan = this.#plan(padded);
    for (const tensor of Object.values(plan.tensors)) keep(tensor);
    return {
      rows,
      tokens: keep(indexTensor(positions, [rows], device)),
      positions: keep(indexTensor(positions, [rows], device)),
      flatRows: keep(indexTensor(flatRows, [rows], device)),
      lora,
      plan,
    };
  }

  #dropComposition(): void {
    if (this.#composition === undefined) return;
    const { tokens, positions, flatRows, lora, plan } = this.#composition;
    for (const tensor of [tokens, positions, flatRows]) tensor.dispose();
    for (const tensor of Object.values(plan.tensors)) tensor.dispose();
    if (typeof lora?.factors === 'object') {
      for (const tensor of lora.factors.values()) tensor.dispose();
    }
    this.#composition = undefined;
  }

  #plan(rows: readonly Row[]): SamplingPlan {
    const rules = rows.map(({ request }) => request);
    return planSampling(rules, this.#decoder.config.vocabSize, this.#decoder.device);
  }

  /** @param owners the row of each token of a pass */
  #loraOf(owners: readonly Row[]): LoraRows | undefined {
    const needed = new Set(this.#active.flatMap(({ request }) => request.adapter ?? []));
    return this.#adapters.rowsOf(
      owners.map(({ request }) => request.adapter),
      needed,
    );
  }

  /** Appends a draw to the rows from `firstSlot` on, and takes out those that are finished. */
  #record(draw: Draw, firstSlot: number): readonly Generated[] {
    appendDraw(draw, this.#active.slice(firstSlot));
    const finished: Generated[] = [];
    // From the end, so that a row that moves into a vacated slot is never one that is finished too.
    for (let slot = this.#active.length - 1; slot >= firstSlot; slot--) {
      const result = resultOf(this.#active[slot] as Row);
      if (result === undefined) continue;
      finished.unshift(result);
      this.#vacate(slot);
    }
    return finished;
  }

  /** Takes a row out; the last row moves into its slot. */
  #vacate(slot: number): void {
    this.#dropComposition();
    const last = this.#active.pop() as Row;
    if (slot === this.#active.length) return;
    this.#cache.move(this.#active.length, slot, last.cached);
    this.#active[slot] = last;
  }
}

/** The rows, filled up with the first one to a multiple of the slot block. */
function fillBlock(rows: readonly Row[]): Row[] {
  const count = roundUp(rows.length, slotBlock);
  return Array.from({ length: count }, (_, index) => (rows[index] ?? rows[0]) as Row);
}

function lastTokens(rows: readonly Row[], count: number): BigInt64Array {
  const tokens = new BigInt64Array(count);
  for (const [slot, row] of rows.entries()) tokens[slot] = BigInt(row.tokens.at(-1) ?? 0);
  return tokens;
}
