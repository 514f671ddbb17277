import { AdapterBank } from './adapter-bank.ts';
import { noGrad } from './autograd.ts';
import { DecodeSteps } from './decode-steps.ts';
import { type Decoder, logitsOf, runLayers } from './decoder.ts';
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
import { type LoraBank, loraOfEach, rowInBank } from './lora.ts';
import { indexSelect } from './ops.ts';
import { attendCausal } from './pack-rows.ts';
import { type Draw, drawTokens, planSampling, type SamplingPlan } from './sampling.ts';
import { keep, tidy } from './scope.ts';
import { indexTensor, type Tensor } from './tensor.ts';

/** Prompts are padded to a multiple of this many tokens. */
const prefillBlock = 16;

/** What decode steps over the same rows have in common. */
type Composition = {
  /** The rows under way, filled up to a multiple of the slot block. */
  readonly padded: readonly Row[];
  readonly bank: LoraBank | undefined;
  readonly owners: readonly number[];
  readonly plan: SamplingPlan;
};

/**
 * The generator of any device and dtype: one `step` is one prefill or one token for every row.
 *
 * A sequence's tokens and log-probabilities are bit-identical whatever else is in the batch (same machine, same number
 * of threads, MKL; another library's products may round otherwise): every row keeps its own slot from position 0, shapes are padded to fixed multiples, and chance comes
 * from the row's seed and position alone.
 */
export class PaddedGenerator implements SequenceGenerator {
  readonly #decoder: Decoder;
  readonly #options: { readonly maxRows: number; readonly maxPrefillTokens: number };
  readonly #cache: KvCache;
  readonly #steps: DecodeSteps;
  readonly #adapters: AdapterBank;
  readonly #waiting: Row[] = [];
  /** Row i uses slot i of the cache. */
  readonly #active: Row[] = [];
  #nextId = 1;
  #prefilled = 0;
  #composition: Composition | undefined;

  constructor(decoder: Decoder, options: GeneratorOptions = {}) {
    // The cache holds a key once, not once for each query that sees it as the kernels do.
    this.#decoder = { ...decoder, hasKernels: false };
    this.#options = { maxRows: 64, maxPrefillTokens: 4096, ...options };
    this.#cache = new KvCache(decoder);
    this.#steps = new DecodeSteps(this.#decoder, this.#cache, options);
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
    this.#steps.forget();
    this.#cache.dispose();
    this.#adapters.dispose();
  }

  #prefill(): readonly Generated[] {
    const { rows, length } = this.#takePrompts();
    const firstSlot = this.#active.length;
    this.#active.push(...rows);
    this.#dropComposition();
    this.#reserve(length);
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
    const bank = this.#bankOfActive();
    const owners = rows.map(({ request }) => (bank ? rowInBank(bank, request.adapter) : 0));
    const ofTokens = positions.map((_, at) => owners[Math.floor(at / length)] ?? 0);
    return runLayers(this.#decoder, {
      tokens: indexTensor(tokens, [total], device),
      rotation: this.#decoder.rotary.at(indexTensor(positions, [total], device), length),
      lora: bank && loraOfEach(bank, indexTensor(ofTokens, [total], device)),
      attend: (layer, heads) => {
        this.#cache.write(layer, heads, flatIndex);
        return attendCausal({ rows: rows.length, length }, heads);
      },
    });
  }

  #decode(): readonly Generated[] {
    const longest = this.#active.reduce((most, { cached }) => Math.max(most, cached + 1), 0);
    this.#reserve(longest);
    this.#composition ??= this.#compose();
    const { padded, bank, owners, plan } = this.#composition;
    // A slot that only fills the block feeds its first place again and again.
    const isActive = (slot: number) => slot < this.#active.length;
    const logits = this.#steps.run({
      rows: padded.length,
      length: roundUp(longest, positionBlock),
      ...{ bank, owners },
      tokens: padded.map(({ tokens }, slot) => (isActive(slot) ? (tokens.at(-1) ?? 0) : 0)),
      positions: padded.map(({ cached }, slot) => (isActive(slot) ? cached : 0)),
    });
    for (const row of this.#active) row.cached++;
    const drawnAt = this.#active.map(({ cached }) => cached);
    return this.#record(drawTokens(logits, plan, drawnAt), 0);
  }

  /** Room for `length` tokens in each of the active rows. */
  #reserve(length: number): void {
    const hasMoved = this.#cache.reserve(roundUp(this.#active.length, slotBlock), length);
    if (hasMoved) this.#steps.forget();
  }

  #compose(): Composition {
    const padded = fillBlock(this.#active);
    const bank = this.#bankOfActive();
    const owners = padded.map(({ request }) => (bank ? rowInBank(bank, request.adapter) : 0));
    const plan = this.#plan(padded);
    for (const tensor of Object.values(plan.tensors)) keep(tensor);
    return { padded, bank, owners, plan };
  }

  #dropComposition(): void {
    if (this.#composition === undefined) return;
    for (const tensor of Object.values(this.#composition.plan.tensors)) tensor.dispose();
    this.#composition = undefined;
  }

  #plan(rows: readonly Row[]): SamplingPlan {
    const rules = rows.map(({ request }) => request);
    return planSampling(rules, this.#decoder.config.vocabSize, this.#decoder.device);
  }

  #bankOfActive(): LoraBank | undefined {
    return this.#adapters.of(new Set(this.#active.flatMap(({ request }) => request.adapter ?? [])));
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
