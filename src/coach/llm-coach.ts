import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateText, type ModelMessage, NoObjectGeneratedError, Output } from 'ai';
import { BoundaryError } from '../errors.ts';
import type { Coach, CoachRequest, Feedback } from '../types/feedback.ts';
import { callErrorKind, describeCallError, waitBeforeRetry } from './call-error.ts';
import { createLimiter } from './limit.ts';
import { type ParsedReply, parseVerdict, type Verdict, verdictForm } from './parse-verdict.ts';
import { type AgentBrief, checkTemplate, type Rubric, renderRequest } from './render-request.ts';
import { type ModelObject, resolveModel } from './resolve-model.ts';

export type LlmCoachOptions = {
  /** A model object of the AI SDK, or `provider/model` as {@link resolveModel} reads it. */
  readonly model: ModelObject | string;
  /** Agent name → what the coach is told about it, in the order in which they act. */
  readonly team: Readonly<Record<string, AgentBrief>>;
  /** More to say about how to judge. */
  readonly instructions?: string;
  /** Markdown with named slots; default: the MathChat rubric. */
  readonly rubric?: string;
  /** Shows the coach the task's ground truth; default false, as the method needs no labels. */
  readonly showAnswer?: boolean;
  /** Deadline of one verdict, retries and repair included, once its turn has come; milliseconds. */
  readonly timeoutMs: number;
  /** Verdicts in flight at a time. */
  readonly concurrency: number;
  /** Tries of one call when it fails in passing. */
  readonly maxAttempts: number;
};

export type LlmCoach = Coach & {
  /** One small call; @throws BoundaryError("coach") with the fix when the coach cannot be reached or is refused */
  readonly check: () => Promise<void>;
};

/** Ended without a verdict for this one action. */
type Unanswered = { readonly cause: string };
type Reply = { readonly text: string };

/** What all calls of one coach share. */
type CoachState = {
  readonly name: string;
  readonly options: LlmCoachOptions;
  readonly loadModel: () => Promise<ModelObject>;
  readonly usage: { calls: number; inputTokens: number; outputTokens: number };
  /** False once the endpoint has said that it takes no structured output. */
  isStructured: boolean;
};

/** When to give up on one verdict. */
type Deadline = {
  readonly at: number;
  readonly signal: AbortSignal;
  readonly caller?: AbortSignal;
};

const MATHCHAT_RUBRIC = new URL('./rubrics/mathchat.md', import.meta.url);

/**
 * A coach that asks a language model for a verdict on every action.
 *
 * A reply that cannot be read gets one repair turn with the whole material; failures in passing are tried again under the
 * deadline; what still fails is `unscored` with its cause.
 *
 * @throws BoundaryError("coach") at once when the model's name, its key or the rubric is wrong
 */
export function createLlmCoach(options: LlmCoachOptions): LlmCoach {
  const { model } = options;
  const name = typeof model === 'string' ? model : `${model.provider}/${model.modelId}`;
  const state: CoachState = {
    name,
    options,
    loadModel: typeof model === 'string' ? resolveModel(model) : () => Promise.resolve(model),
    usage: { calls: 0, inputTokens: 0, outputTokens: 0 },
    isStructured: true,
  };
  const rubric: Rubric = {
    template: options.rubric ?? readFileSync(MATHCHAT_RUBRIC, 'utf8'),
    team: options.team,
    instructions: options.instructions ?? '',
    showAnswer: options.showAnswer ?? false,
  };
  checkTemplate(rubric.template);
  const limit = createLimiter(options.concurrency);
  return {
    name,
    score: (request, { signal } = {}) => limit(() => judge(state, rubric, { request, signal })),
    check: () => check(state),
    usage: () => ({ ...state.usage }),
  };
}

async function judge(
  state: CoachState,
  rubric: Rubric,
  asked: { readonly request: CoachRequest; readonly signal: AbortSignal | undefined },
): Promise<Feedback> {
  const deadline = deadlineOf(state, asked.signal);
  const actionId = asked.request.action.id;
  const question: ModelMessage = {
    role: 'user',
    content: renderRequest(asked.request, rubric),
  };
  const first = await ask(state, [question], deadline);
  if ('cause' in first) return { kind: 'unscored', actionId, cause: first.cause };
  const parsed = parseVerdict(first.text);
  if (parsed.verdict !== undefined) return feedbackOf(asked.request, parsed.verdict);

  const second = await ask(state, repairTurn(question, first.text, parsed.problem), deadline);
  if ('cause' in second) return { kind: 'unscored', actionId, cause: second.cause };
  const repaired: ParsedReply = parseVerdict(second.text);
  if (repaired.verdict !== undefined) return feedbackOf(asked.request, repaired.verdict);
  return { kind: 'unscored', actionId, cause: `no verdict after a repair: ${repaired.problem}` };
}

/** The material again, the reply, and what was wrong with it: a judge needs the case to judge. */
function repairTurn(question: ModelMessage, reply: string, problem: string): ModelMessage[] {
  return [
    question,
    { role: 'assistant', content: reply === '' ? '(empty reply)' : reply },
    {
      role: 'user',
      content: `Your reply could not be read. ${problem}\nGive your verdict on the same action again, in the form asked for.`,
    },
  ];
}

function feedbackOf({ action, earlier }: CoachRequest, verdict: Verdict): Feedback {
  const { score, reason, blame, upstreamAgent } = verdict;
  const isKnown = earlier.some((played) => played.agent === upstreamAgent);
  const blamed =
    blame === 'upstream' && isKnown && upstreamAgent !== undefined
      ? { blamedAgent: upstreamAgent }
      : {};
  return { kind: 'scored', actionId: action.id, score, reason, blame, ...blamed };
}

function deadlineOf(state: CoachState, caller: AbortSignal | undefined): Deadline {
  const timeout = AbortSignal.timeout(state.options.timeoutMs);
  return {
    at: Date.now() + state.options.timeoutMs,
    signal: caller === undefined ? timeout : AbortSignal.any([caller, timeout]),
    ...(caller === undefined ? {} : { caller }),
  };
}

/** Calls the model until it replies, the deadline passes or the tries are used up. */
async function ask(
  state: CoachState,
  messages: ModelMessage[],
  deadline: Deadline,
): Promise<Reply | Unanswered> {
  let attempt = 0;
  while (true) {
    deadline.caller?.throwIfAborted();
    try {
      return await callOnce(state, messages, deadline.signal);
    } catch (error) {
      deadline.caller?.throwIfAborted();
      if (deadline.signal.aborted) return { cause: timeoutCause(state) };
      if (callErrorKind(error) === 'no-structure' && state.isStructured) {
        state.isStructured = false;
        continue;
      }
      attempt += 1;
      const gaveUp = await waitOrGiveUp(state, { error, attempt }, deadline);
      if (gaveUp !== undefined) return gaveUp;
    }
  }
}

/** Waits for the next try, or says why there is none. */
async function waitOrGiveUp(
  state: CoachState,
  failed: { readonly error: unknown; readonly attempt: number },
  deadline: Deadline,
): Promise<Unanswered | undefined> {
  const kind = callErrorKind(failed.error);
  if (kind === 'foreign') throw failed.error;
  const said = describeCallError(failed.error);
  if (kind !== 'transient') throw permanentError(state, failed.error);
  if (failed.attempt >= state.options.maxAttempts) {
    return { cause: `no reply in ${failed.attempt} tries; the last: ${said}` };
  }
  const waitMs = waitBeforeRetry(failed.error, failed.attempt, Math.random());
  if (Date.now() + waitMs >= deadline.at) {
    return { cause: `${said}; the wait of ${waitMs / 1000} s would pass the deadline` };
  }
  await sleep(waitMs, undefined, { signal: deadline.signal }).catch((error: unknown) => {
    deadline.caller?.throwIfAborted();
    if (!deadline.signal.aborted) throw error;
  });
  return deadline.signal.aborted ? { cause: timeoutCause(state) } : undefined;
}

function permanentError(state: CoachState, error: unknown): BoundaryError {
  return new BoundaryError(
    'coach',
    `The coach ${state.name} refuses every call: ${describeCallError(error)}; check its key, its model name and the length of what it is shown.`,
    { cause: error },
  );
}

function timeoutCause(state: CoachState): string {
  return `timeout after ${state.options.timeoutMs / 1000} s`;
}

async function callOnce(
  state: CoachState,
  messages: ModelMessage[],
  abortSignal: AbortSignal,
): Promise<Reply> {
  const model = await state.loadModel();
  state.usage.calls += 1;
  const call = { model, messages, temperature: 0, maxRetries: 0, abortSignal };
  try {
    const result = state.isStructured
      ? await generateText({ ...call, output: Output.object({ schema: verdictForm }) })
      : await generateText(call);
    bookUsage(state, result.usage);
    return { text: result.text };
  } catch (error) {
    // The reply does not fit the form; its text may still hold a verdict, and it has cost what it cost.
    if (!NoObjectGeneratedError.isInstance(error)) throw error;
    bookUsage(state, error.usage);
    return { text: error.text ?? '' };
  }
}

function bookUsage(
  state: CoachState,
  usage:
    | { readonly inputTokens: number | undefined; readonly outputTokens: number | undefined }
    | undefined,
): void {
  state.usage.inputTokens += usage?.inputTokens ?? 0;
  state.usage.outputTokens += usage?.outputTokens ?? 0;
}

async function check(state: CoachState): Promise<void> {
  const reply = await ask(
    state,
    [{ role: 'user', content: 'Reply with the verdict: reason "ready", score 10, blame "none".' }],
    deadlineOf(state, undefined),
  );
  if ('cause' in reply) {
    throw new BoundaryError(
      'coach',
      `The coach ${state.name} cannot be reached: ${reply.cause}; check the address and that it is running.`,
      { retryable: true },
    );
  }
}
