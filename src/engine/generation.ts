import { BoundaryError } from '../errors.ts';
import type { Decoder } from './decoder.ts';
import type { Adapter } from './lora.ts';
import { type Draw, isShaped, type SamplingRule } from './sampling.ts';
import type { StepRecorder } from './step-recorder.ts';
import { checkTokens } from './token-logprobs.ts';

/** One sequence to be continued. */
export type GenerationRequest = SamplingRule & {
  readonly prompt: Int32Array;
  /** Must not change while the request runs; absent = the base alone. */
  readonly adapter?: Adapter;
  readonly maxTokens: number;
  readonly stopTokens: readonly number[];
  /** Asked after every token whether the tokens so far end the sequence. */
  readonly isEnd?: (tokens: readonly number[]) => boolean;
};

/** A finished sequence. */
export type Generated = {
  /** What `submit` returned. */
  readonly id: number;
  /** The stop token included. */
  readonly tokens: Int32Array;
  /** Of the raw distribution: temperature 1, unfiltered. */
  readonly logprobs: Float32Array;
  /** Under the distribution that was sampled; absent where that is the raw one, or greedy. */
  readonly behaviourLogprobs?: Float32Array;
  readonly stop: 'stop' | 'length';
};

export type GeneratorOptions = {
  /** Sequences decoded at once. */
  readonly maxRows?: number;
  /** Prompt tokens in one pass. */
  readonly maxPrefillTokens?: number;
  /** Memory of finished sequences' keys and values, kept for prompts that begin alike. */
  readonly maxRetainedBytes?: number;
  /** Records decode steps and does them again; absent = each is asked for operator by operator. */
  readonly recorder?: StepRecorder;
  /** Told in one sentence when recording fails. */
  readonly note?: (text: string) => void;
};

/** Continues many sequences at once. Requests join at any time; a finished one leaves at once. */
export type SequenceGenerator = {
  /** Sequences that are not finished. */
  readonly pending: number;
  /** Prompt tokens that went through the model; fewer than were submitted where sequences share a beginning. */
  readonly prefilled: number;
  /** Of the keys and values of sequences, allocated now. */
  readonly cacheBytes: number;
  /**
   * Queues a request.
   *
   * @returns the id that its result will carry
   * @throws BoundaryError("engine") for an empty or too long prompt and for ids outside the vocabulary
   */
  readonly submit: (request: GenerationRequest) => number;
  /** Forgets a request, wherever it is; unknown ids are ignored. */
  readonly cancel: (id: number) => void;
  /** One pass of the model; returns the sequences that it finished. */
  readonly step: () => readonly Generated[];
  /** Frees all memory; requests that are not finished are dropped. New ones may be submitted: also after a failed `step`. */
  readonly dispose: () => void;
};

/** A request on its way. */
export type Row = {
  readonly id: number;
  readonly request: GenerationRequest;
  readonly tokens: number[];
  readonly logprobs: number[];
  /** Stays empty unless the request is shaped. */
  readonly behaviour: number[];
  /** Tokens in the cache. */
  cached: number;
};

/** @throws BoundaryError("engine") when the decoder cannot continue the request's prompt */
export function checkRequest(request: GenerationRequest, decoder: Decoder): void {
  const { prompt, maxTokens, temperature, topK = 1, topP = 1, minP = 0 } = request;
  const { vocabSize, maxPositions } = decoder.config;
  checkTokens(prompt, vocabSize);
  const refuse = (what: string): never => {
    throw new BoundaryError('engine', `cannot generate: ${what}`);
  };
  if (prompt.length === 0) refuse('the prompt is empty; expected at least one token');
  if (!(maxTokens >= 1)) refuse(`maxTokens is ${maxTokens}; expected at least 1`);
  if (!(temperature >= 0)) refuse(`temperature is ${temperature}; expected 0 (greedy) or more`);
  if (!(topK >= 1)) refuse(`topK is ${topK}; expected at least 1`);
  if (!(topP > 0 && topP <= 1)) refuse(`topP is ${topP}; expected above 0, at most 1`);
  if (!(minP >= 0 && minP <= 1)) refuse(`minP is ${minP}; expected 0 to 1`);
  if (prompt.length + maxTokens > maxPositions) {
    refuse(
      `${prompt.length} prompt tokens and ${maxTokens} new ones do not fit the model's ${maxPositions} positions`,
    );
  }
}

/** Appends what was drawn to each row. */
export function appendDraw({ tokens, logprobs, behaviour }: Draw, rows: readonly Row[]): void {
  const ids = tokens.toBigInt64Array();
  const values = logprobs.toFloat32Array();
  const shaped = behaviour?.toFloat32Array();
  for (const [index, row] of rows.entries()) {
    row.tokens.push(Number(ids[index]));
    row.logprobs.push(values[index] ?? Number.NaN);
    if (isShaped(row.request)) row.behaviour.push(shaped?.[index] ?? Number.NaN);
  }
}

/** The result of a row that has met a stop token, its own end or its limit. */
export function resultOf({ id, request, tokens, logprobs, behaviour }: Row): Generated | undefined {
  const isStopped =
    request.stopTokens.includes(tokens.at(-1) ?? -1) || request.isEnd?.(tokens) === true;
  if (!isStopped && tokens.length < request.maxTokens) return undefined;
  return {
    id,
    tokens: Int32Array.from(tokens),
    logprobs: Float32Array.from(logprobs),
    ...(behaviour.length > 0 && { behaviourLogprobs: Float32Array.from(behaviour) }),
    stop: isStopped ? 'stop' : 'length',
  };
}
