import { AdapterBanks, type AdapterRun } from './adapter-runs.ts';
import { noGrad } from './autograd.ts';
import { rowLogits, runCachedRows } from './cached-pass.ts';
import { type Decoder, decoderParameters } from './decoder.ts';
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
import { bytesPerToken } from './kv-cache.ts';
import { type Adapter, adapterWrites } from './lora.ts';
import { indexSelect } from './ops.ts';
import { drawTokens, planSampling, type SamplingPlan } from './sampling.ts';
import { keep, tidy } from './scope.ts';
import { SequenceCache } from './sequence-cache.ts';
import { SequenceSlots } from './sequence-slots.ts';
import { indexTensor, type Tensor } from './tensor.ts';

type ActiveRow = Row & { readonly slot: number };

/** Tokens of one row in a pass: `count` from `row.cached` on. */
type Part = { readonly row: ActiveRow; readonly count: number };

/** What passes over the same rows, one token each, have in common. */
type Steady = {
  readonly rows: readonly ActiveRow[];
  readonly lora: readonly AdapterRun[];
  readonly plan: SamplingPlan;
};

/** Of finished sequences, unless the options say otherwise. */
export const maxRetainedBytes = 256 * 1024 * 1024;

const defaults = { maxRows: 64, maxPrefillTokens: 4096, maxRetainedBytes };

/** Prompt tokens in a pass that also samples: rows under way wait at most for these. */
const prefillBesideSampling = 512;

/** Tokens to be sampled that a new row gets room for at once. */
const roomAhead = 64;

/**
 * The generator for a decoder with kernels: one `step` is one pass over a token of every row under way and over
 * prompts that have come, in pieces when they are long.
 *
 * A token's key, value and scores have the same bits however they were computed. So a sequence is the same whatever
 * else is in the batch, and whether its beginning is computed or taken from another sequence that began alike.
 */
export class RowGenerator implements SequenceGenerator {
  readonly #decoder: Decoder;
  readonly #options: typeof defaults;
  readonly #cache: SequenceCache;
  readonly #adapters: AdapterBanks;
  #slots: SequenceSlots;
  readonly #waiting: Row[] = [];
  #active: ActiveRow[] = [];
  #nextId = 1;
  #prefilled = 0;
  #steady: Steady | undefined;

  constructor(decoder: Decoder, options: GeneratorOptions = {}) {
    this.#decoder = decoder;
    this.#options = { ...defaults, ...options };
    this.#cache = new SequenceCache(decoder);
    this.#adapters = new AdapterBanks(decoder);
    this.#slots = this.#emptySlots();
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
    const row = this.#active.find((active) => active.id === id);
    if (row !== undefined) this.#leave([row]);
  }

  step(): readonly Generated[] {
    if (this.pending === 0) return [];
    return noGrad(() => tidy(() => this.#step()));
  }

  dispose(): void {
    this.#waiting.length = 0;
    this.#active = [];
    this.#dropSteady();
    this.#cache.dispose();
    this.#slots = this.#emptySlots();
    this.#adapters.dispose();
  }

  #emptySlots(): SequenceSlots {
    return new SequenceSlots({
      sequences: this.#options.maxRows,
      tokens: Math.floor(this.#options.maxRetainedBytes / bytesPerToken(this.#decoder)),
    });
  }

  #step(): readonly Generated[] {
    this.#admit();
    const parts = this.#partsOfPass();
    const drawn = parts.flatMap(({ row, count }) =>
      row.cached + count === row.request.prompt.length + row.tokens.length ? [row] : [],
    );
    const { lora, plan } = this.#prepare(parts, drawn);
    const hidden = this.#run(parts, lora);
    for (const { row, count } of parts) row.cached += count;
    if (drawn.length === 0 || plan === undefined) return [];
    const logits = rowLogits(this.#decoder, this.#lastOfDrawn(hidden, parts, drawn));
    const positions = drawn.map(({ cached }) => cached);
    appendDraw(drawTokens(logits, plan, positions), drawn);
    return this.#takeFinished(drawn);
  }

  /** Gives waiting rows slots, oldest first, as long as there is room. */
  #admit(): void {
    const room = this.#options.maxRows - this.#active.length;
    if (room <= 0 || this.#waiting.length === 0) return;
    const writes = new Map<Adapter | undefined, number>();
    const placed = new Set<Row>();
    for (const row of this.#waiting) {
      if (placed.size === room) break;
      const { adapter, prompt, maxTokens } = row.request;
      if (!writes.has(adapter)) writes.set(adapter, writesTo(this.#decoder, adapter));
      const place = this.#slots.place(row, writes.get(adapter) ?? 0);
      if (place === undefined) continue;
      const { slot, from, cached } = place;
      this.#cache.reserve(slot, prompt.length + Math.min(maxTokens, roomAhead));
      if (from !== slot) this.#cache.copy(from, slot, cached);
      this.#active.push(Object.assign(row, { slot }));
      placed.add(row);
    }
    const left = this.#waiting.filter((row) => !placed.has(row));
    this.#waiting.splice(0, this.#waiting.length, ...left);
  }

  /** One token of every row that is being continued, and as much of the prompts as a pass may hold. */
  #partsOfPass(): readonly Part[] {
    const isContinued = ({ cached, request }: Row) => cached >= request.prompt.length;
    const most = this.#options.maxPrefillTokens;
    let room = this.#active.some(isContinued) ? Math.min(most, prefillBesideSampling) : most;
    const parts: Part[] = [];
    for (const row of this.#active) {
      const wanted = isContinued(row) ? 1 : Math.min(room, row.request.prompt.length - row.cached);
      if (!isContinued(row)) {
        room -= wanted;
        this.#prefilled += wanted;
      }
      if (wanted > 0) parts.push({ row, count: wanted });
    }
    // Rows of one adapter stand together.
    return [...Map.groupBy(parts, ({ row }) => row.request.adapter).values()].flat();
  }

  #prepare(
    parts: readonly Part[],
    drawn: readonly ActiveRow[],
  ): { readonly lora: readonly AdapterRun[]; readonly plan: SamplingPlan | undefined } {
    const isOneEach = parts.length === drawn.length && parts.every(({ count }) => count === 1);
    if (isOneEach && isSame(this.#steady?.rows, drawn)) return this.#steady as Steady;
    this.#dropSteady();
    const owners = parts.flatMap(({ row, count }) =>
      Array<Adapter | undefined>(count).fill(row.request.adapter),
    );
    const needed = new Set(this.#active.flatMap(({ request }) => request.adapter ?? []));
    const lora = this.#adapters.runsOf(owners, needed);
    const { config, device } = this.#decoder;
    const rules = drawn.map(({ request }) => request);
    const plan = rules.length === 0 ? undefined : planSampling(rules, config.vocabSize, device);
    if (isOneEach && plan !== undefined) {
      this.#steady = { rows: drawn, lora, plan };
      for (const tensor of tensorsOf(this.#steady)) keep(tensor);
    }
    return { lora, plan };
  }

  #run(parts: readonly Part[], lora: readonly AdapterRun[]): Tensor {
    const length = parts.reduce((most, { row, count }) => Math.max(most, row.cached + count), 0);
    // All of them first: one that grows may move the others.
    for (const { row, count } of parts) this.#cache.reserve(row.slot, row.cached + count);
    const tokens: number[] = [];
    const positions: number[] = [];
    const places: number[] = [];
    for (const { row, count } of parts) {
      const { prompt } = row.request;
      const start = this.#cache.startOf(row.slot);
      for (let at = row.cached; at < row.cached + count; at++) {
        tokens.push(prompt[at] ?? row.tokens[at - prompt.length] ?? 0);
        positions.push(at);
        places.push(start + at);
      }
    }
    const column = (values: readonly number[]) => indexTensor(values, [values.length]);
    return runCachedRows(this.#decoder, this.#cache, {
      tokens: column(tokens),
      positions: column(positions),
      places: column(places),
      length,
      lora,
    });
  }

  /** Of the rows that get a token, the hidden state of the last one they have. */
  #lastOfDrawn(hidden: Tensor, parts: readonly Part[], drawn: readonly ActiveRow[]): Tensor {
    if (hidden.shape[0] === drawn.length) return hidden;
    const isDrawn = new Set(drawn);
    const last: number[] = [];
    let end = 0;
    for (const { row, count } of parts) {
      end += count;
      if (isDrawn.has(row)) last.push(end - 1);
    }
    return indexSelect(hidden, 0, indexTensor(last, [last.length]));
  }

  #takeFinished(drawn: readonly ActiveRow[]): readonly Generated[] {
    const results = drawn.map(resultOf);
    this.#leave(drawn.filter((_, index) => results[index] !== undefined));
    return results.flatMap((result) => result ?? []);
  }

  /** Takes rows out; what the cache holds of them stays for others. */
  #leave(rows: readonly ActiveRow[]): void {
    if (rows.length === 0) return;
    for (const { slot, cached } of rows) {
      this.#cache.trim(slot, cached);
      for (const dropped of this.#slots.finish(slot)) this.#cache.release(dropped);
    }
    this.#active = this.#active.filter((row) => !rows.includes(row));
  }

  #dropSteady(): void {
    if (this.#steady === undefined) return;
    for (const tensor of tensorsOf(this.#steady)) tensor.dispose();
    this.#steady = undefined;
  }
}

function tensorsOf({ plan }: Steady): readonly Tensor[] {
  return Object.values(plan.tensors);
}

function isSame(left: readonly Row[] | undefined, right: readonly Row[]): boolean {
  return left?.length === right.length && left.every((row, index) => row === right[index]);
}

/** Writes to all weights that a row's keys and values depend on. */
function writesTo(decoder: Decoder, adapter: Adapter | undefined): number {
  const own = adapter === undefined ? 0 : adapterWrites(adapter);
  return [...decoderParameters(decoder).values()].reduce((sum, { writes }) => sum + writes, own);
}
