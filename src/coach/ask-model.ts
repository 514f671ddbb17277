import { setTimeout as sleep } from 'node:timers/promises';
import { generateText, type ModelMessage, NoObjectGeneratedError, Output } from 'ai';
import type { z } from 'zod';
import { BoundaryError } from '../errors.ts';
import {
  callErrorKind,
  describeCallError,
  isRateLimited,
  isUnpaid,
  waitBeforeRetry,
} from './call-error.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { Ledger, Reservation } from './ledger.ts';
import type { ModelObject } from './resolve-model.ts';

// The SDK prints a warning on the console for every setting that a model passes over, such as the temperature.
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false });

/** A model, and how long and how often it is asked. */
export type AskedModel = {
  readonly name: string;
  readonly load: () => Promise<ModelObject>;
  readonly ledger: Ledger;
  readonly breaker: CircuitBreaker;
  /** Of one question, from the moment it may be put; milliseconds. */
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  readonly maxReplyTokens: number;
  /** How the endpoint is asked, found out while asking: one object for every question put to it. */
  readonly endpoint: {
    /** False once it has said that it takes no structured output. */ takesForm: boolean;
  };
};

export type Question = {
  readonly messages: ModelMessage[];
  readonly form: z.ZodType;
  /** What the call is booked on; absent for a call about no action. */
  readonly actionId?: string;
  readonly signal?: AbortSignal | undefined;
};

/** What came of a question: a text, or why there is none. */
export type Answer =
  | { readonly text: string; readonly isCutOff: boolean }
  | {
      readonly cause: string;
      readonly isSpent?: boolean;
      /** The last try was turned away for too many calls: waiting helps. */
      readonly isRateLimited?: boolean;
      /** The wait that the provider asked for, where the deadline did not allow it; milliseconds. */
      readonly askedWaitMs?: number;
    };

/** When to give up on one question. */
type Deadline = { readonly at: number; readonly signal: AbortSignal };

/**
 * Puts a question to the model until it replies, the deadline passes or the tries are used up.
 *
 * In an outage it waits with everyone else, and starts afresh afterwards.
 *
 * @throws BoundaryError("coach") when the model refuses for good or an outage lasts too long; the reason of `signal`
 */
export async function askModel(model: AskedModel, question: Question): Promise<Answer> {
  const { breaker } = model;
  let deadline = startDeadline(model, question.signal);
  let attempt = 0;
  while (true) {
    if (await breaker.admit(question.signal)) {
      deadline = startDeadline(model, question.signal);
      attempt = 0;
    }
    const tried = await tryOnce(model, question, deadline);
    if ('text' in tried || 'cause' in tried) return tried;
    if ('isAgain' in tried) continue;
    attempt += 1;
    const given = await waitOrGiveUp(model, { error: tried.error, attempt }, deadline);
    question.signal?.throwIfAborted();
    if (given !== undefined && !breaker.isOpen) {
      return { ...given, isRateLimited: isRateLimited(tried.error) };
    }
  }
}

function startDeadline(model: AskedModel, caller: AbortSignal | undefined): Deadline {
  const timeout = AbortSignal.timeout(model.timeoutMs);
  return {
    at: Date.now() + model.timeoutMs,
    signal: caller === undefined ? timeout : AbortSignal.any([caller, timeout]),
  };
}

/** One call: an answer, a failure in passing, or the news that it must be put in another form. */
async function tryOnce(
  model: AskedModel,
  question: Question,
  deadline: Deadline,
): Promise<Answer | { readonly error: unknown } | { readonly isAgain: true }> {
  const { breaker } = model;
  // Kept from before the call: calls in flight together are all turned away, and each must be put again.
  const isStructured = model.endpoint.takesForm;
  try {
    const reservation = await reserve(model, question);
    if (reservation === undefined) {
      breaker.abandoned();
      return { cause: 'the coaching budget is spent', isSpent: true };
    }
    const at = { signal: deadline.signal, reservation, isStructured };
    const reply = await callOnce(model, question, at);
    breaker.succeeded();
    return reply;
  } catch (error) {
    if (question.signal?.aborted) {
      breaker.abandoned();
      throw question.signal.reason;
    }
    if (deadline.signal.aborted) {
      breaker.failed(undefined);
      return { error: undefined };
    }
    return afterFailure(model, question, { error, isStructured });
  }
}

function reserve(model: AskedModel, question: Question): Promise<Reservation | undefined> {
  const { actionId } = question;
  return model.ledger.reserve(
    {
      ...(actionId === undefined ? {} : { actionId }),
      inputBytes: Buffer.byteLength(JSON.stringify(question.messages)),
      maxOutputTokens: model.maxReplyTokens,
    },
    question.signal,
  );
}

function afterFailure(
  model: AskedModel,
  { actionId }: Question,
  { error, isStructured }: { readonly error: unknown; readonly isStructured: boolean },
): Answer | { readonly error: unknown } | { readonly isAgain: true } {
  const kind = callErrorKind(error);
  if (kind === 'transient') {
    model.breaker.failed(error);
    return { error };
  }
  // Whatever else it said, it is there and speaks.
  model.breaker.succeeded();
  if (kind === 'no-structure' && isStructured) {
    model.endpoint.takesForm = false;
    return { isAgain: true };
  }
  if (kind === 'refused') return { cause: `the coach refused: ${describeCallError(error)}` };
  if (kind === 'too-long') {
    const about = actionId === undefined ? 'the question' : `the question on action ${actionId}`;
    return { cause: `${about} is too long for the coach: ${describeCallError(error)}` };
  }
  if (kind === 'foreign') throw error;
  throw new BoundaryError(
    'coach',
    `The coach ${model.name} refuses every call: ${describeCallError(error)}; check its key, its model name and its address.`,
    { cause: error },
  );
}

/** Waits for the next try, or says why there is none. */
async function waitOrGiveUp(
  model: AskedModel,
  failed: { readonly error: unknown; readonly attempt: number },
  deadline: Deadline,
): Promise<{ readonly cause: string; readonly askedWaitMs?: number } | undefined> {
  const timeout = { cause: `timeout after ${model.timeoutMs / 1000} s` };
  if (deadline.signal.aborted) return timeout;
  const said = describeCallError(failed.error);
  if (failed.attempt >= model.maxAttempts) {
    return { cause: `no reply in ${failed.attempt} tries; the last: ${said}` };
  }
  // The outage has its own clock.
  if (model.breaker.isOpen) return undefined;
  const waitMs = waitBeforeRetry(failed.error, failed.attempt, Math.random());
  if (Date.now() + waitMs >= deadline.at) {
    const cause = `${said}; the wait of ${waitMs / 1000} s would pass the deadline`;
    return { cause, askedWaitMs: waitMs };
  }
  await sleep(waitMs, undefined, { signal: deadline.signal }).catch((error: unknown) => {
    if (!deadline.signal.aborted) throw error;
  });
  return deadline.signal.aborted ? timeout : undefined;
}

async function callOnce(
  model: AskedModel,
  { messages, form }: Question,
  at: {
    readonly signal: AbortSignal;
    readonly reservation: Reservation;
    readonly isStructured: boolean;
  },
): Promise<Answer> {
  const { signal: abortSignal, reservation, isStructured } = at;
  try {
    const call = {
      ...{ model: await model.load(), messages, temperature: 0, maxRetries: 0, abortSignal },
      maxOutputTokens: model.maxReplyTokens,
    };
    const result = isStructured
      ? await generateText({ ...call, output: Output.object({ schema: form }) })
      : await generateText(call);
    reservation.answered({ input: result.usage.inputTokens, output: result.usage.outputTokens });
    return answerOf(result.text, result.finishReason);
  } catch (error) {
    // The reply does not fit the form; its text may still hold a verdict, and it has cost what it cost.
    if (NoObjectGeneratedError.isInstance(error)) {
      const { usage, text = '', finishReason } = error;
      reservation.answered({ input: usage?.inputTokens, output: usage?.outputTokens });
      return answerOf(text, finishReason);
    }
    reservation.failed(isUnpaid(error));
    throw error;
  }
}

function answerOf(text: string, finishReason: string | undefined): Answer {
  if (finishReason === 'content-filter') {
    const words = text.trim().slice(0, 200);
    return { cause: `the coach refused (content filter)${words === '' ? '' : `: ${words}`}` };
  }
  return { text, isCutOff: finishReason === 'length' };
}
