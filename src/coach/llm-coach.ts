import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ModelMessage } from 'ai';
import PQueue from 'p-queue';
import { z } from 'zod';
import { BoundaryError } from '../errors.ts';
import type { Coach, CoachRequest, Feedback } from '../types/feedback.ts';
import { type Answer, type AskedModel, askModel } from './ask-model.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { identityOf } from './identify-model.ts';
import { type Budget, createMemoryBooks, Ledger, spentError } from './ledger.ts';
import {
  type ParsedReply,
  parseVerdict,
  type Verdict,
  verdictForm,
  verdictFormWithAnswer,
} from './parse-verdict.ts';
import {
  type AgentBrief,
  checkTemplate,
  isAnswerShown,
  type Rubric,
  renderRequest,
} from './render-request.ts';
import { type ModelObject, resolveModel } from './resolve-model.ts';
import { cacheKey, type VerdictCache } from './verdict-cache.ts';

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
  /** Deadline of one verdict's call with its retries, once its turn has come; milliseconds. */
  readonly timeoutMs: number;
  /** Verdicts in flight at a time. */
  readonly concurrency: number;
  /** Tries of one call when it fails in passing. */
  readonly maxAttempts: number;
  /** Most tokens of one reply, reasoning included; default 8192. */
  readonly maxReplyTokens?: number;
  /** How long an outage may last before the run stops, milliseconds; default ten minutes. */
  readonly outageMs?: number;
  /** Books and budget; default: books that are not kept, and no limit. */
  readonly ledger?: Ledger;
  readonly budget?: Budget;
  readonly cache?: VerdictCache;
  /** Tells the model from others of its name, where its object does not: verdicts of another are not taken for its own. */
  readonly fingerprint?: string;
  /** Told when an outage pauses the run and when it is over. */
  readonly onPause?: (sentence: string) => void;
};

export type LlmCoach = Coach & {
  /** One small call; @throws BoundaryError("coach") with the fix when the coach cannot be reached or is refused */
  readonly check: () => Promise<void>;
};

/** What all verdicts of one coach share. */
type CoachState = {
  readonly model: AskedModel;
  readonly rubric: Rubric;
  readonly budget: Budget | undefined;
  readonly cache: VerdictCache | undefined;
  readonly fingerprint: string | undefined;
  /** How long the start may wait for a coach that asks for it, milliseconds. */
  readonly patienceMs: number;
  readonly onPause: (sentence: string) => void;
  /** Cache key → the call under way for it. */
  readonly underWay: Map<string, Promise<unknown>>;
};

const MATHCHAT_RUBRIC = new URL('./rubrics/mathchat.md', import.meta.url);
const TEN_MINUTES_MS = 600_000;
const CHECK_TIMEOUT_MS = 20_000;

/** Counts up with every change of the words round a rubric, so that cached verdicts are of the same question. */
const PROMPT_VERSION = 1;

/**
 * A coach that asks a language model for a verdict on every action.
 *
 * A reply that cannot be read gets one repair turn with the whole material; failures in passing are tried again under the
 * deadline; what still fails is `unscored` with its cause.
 *
 * @throws BoundaryError("coach") at once when the model's name, its key or the rubric is wrong
 */
export function createLlmCoach(options: LlmCoachOptions): LlmCoach {
  const name = nameOfModel(options.model);
  const template = options.rubric ?? readFileSync(MATHCHAT_RUBRIC, 'utf8');
  checkTemplate(template);
  const state: CoachState = {
    model: askedModel(name, options),
    rubric: {
      template,
      team: options.team,
      instructions: options.instructions ?? '',
      showAnswer: options.showAnswer ?? false,
    },
    budget: options.budget,
    cache: options.cache,
    fingerprint: options.fingerprint,
    patienceMs: options.outageMs ?? TEN_MINUTES_MS,
    onPause: options.onPause ?? (() => undefined),
    underWay: new Map(),
  };
  const { ledger } = state.model;
  const queue = new PQueue({ concurrency: options.concurrency });
  return {
    name,
    score: (request, { signal } = {}) => queue.add(() => judge(state, { request, signal })),
    check: () => check(state),
    usage: () => ledger.usage(),
    isSpent: () => ledger.isSpent && options.budget?.whenSpent === 'outcome',
  };
}

/** As prices and books name it: model objects say more of their provider, such as `openai.responses`. */
export function nameOfModel(model: ModelObject | string): string {
  if (typeof model === 'string') return model;
  const provider = /vertex/.test(model.provider) ? 'vertex' : model.provider.split('.')[0];
  return `${provider}/${model.modelId}`;
}

function askedModel(name: string, options: LlmCoachOptions): AskedModel {
  const { model, onPause = () => undefined, outageMs = TEN_MINUTES_MS } = options;
  return {
    name,
    load: typeof model === 'string' ? resolveModel(model) : () => Promise.resolve(model),
    ledger: options.ledger ?? new Ledger({ model: name, books: createMemoryBooks() }),
    breaker: new CircuitBreaker({ name, patienceMs: outageMs, onPause }),
    timeoutMs: options.timeoutMs,
    maxAttempts: options.maxAttempts,
    maxReplyTokens: options.maxReplyTokens ?? 8192,
    endpoint: { takesForm: true },
  };
}

type Asked = { readonly request: CoachRequest; readonly signal: AbortSignal | undefined };

async function judge(state: CoachState, asked: Asked): Promise<Feedback> {
  if (state.cache === undefined) return judgeByModel(state, asked, undefined);
  const key = await keyOf(state, asked.request);
  // Equal questions at the same time are one call; whoever waited finds the reply in the cache, or asks himself.
  while (state.underWay.has(key)) await state.underWay.get(key)?.catch(() => undefined);
  const known = fromCache(state, asked.request, key);
  if (known !== undefined) return known;
  const judging = judgeByModel(state, asked, key);
  state.underWay.set(key, judging);
  try {
    return await judging;
  } finally {
    state.underWay.delete(key);
  }
}

async function keyOf(state: CoachState, request: CoachRequest): Promise<string> {
  const { model, fingerprint = '' } = state;
  return cacheKey({
    model: [model.name, ...identityOf(await model.load()), fingerprint],
    promptVersion: PROMPT_VERSION,
    form: z.toJSONSchema(formFor(state, request)),
    text: renderRequest(request, state.rubric, 'fence'),
  });
}

function formFor(state: CoachState, request: CoachRequest) {
  return isAnswerShown(request, state.rubric) ? verdictFormWithAnswer : verdictForm;
}

function fromCache(state: CoachState, request: CoachRequest, key: string): Feedback | undefined {
  const reply = state.cache?.get(key);
  // Only replies that gave a verdict are kept.
  const parsed =
    reply === undefined ? undefined : parse(state, request, { text: reply, isCutOff: false });
  if (parsed?.verdict === undefined) return undefined;
  state.model.ledger.recordCached(request.action.id);
  return feedbackOf(request, parsed.verdict);
}

function parse(
  state: CoachState,
  request: CoachRequest,
  reply: { readonly text: string; readonly isCutOff: boolean },
): ParsedReply {
  const { text, isCutOff } = reply;
  return parseVerdict(text, { isCutOff, isAnswerShown: isAnswerShown(request, state.rubric) });
}

/** @param key where the reply is kept; absent = nowhere */
async function judgeByModel(
  state: CoachState,
  asked: Asked,
  key: string | undefined,
): Promise<Feedback> {
  // New for every call, so that no agent can know it and close the fence.
  const fence = `data-${randomBytes(8).toString('hex')}`;
  const content = renderRequest(asked.request, state.rubric, fence);
  const question: ModelMessage = { role: 'user', content };
  const first = await askForVerdict(state, asked, { messages: [question], key });
  if (!('problem' in first)) return first;
  const messages = repairTurn(question, first);
  const second = await askForVerdict(state, asked, { messages, key });
  if (!('problem' in second)) return second;
  const cause = `no verdict after a repair: ${second.problem}`;
  return { kind: 'unscored', actionId: asked.request.action.id, cause };
}

type Unreadable = { readonly reply: string; readonly problem: string };

async function askForVerdict(
  state: CoachState,
  { request, signal }: Asked,
  how: { readonly messages: ModelMessage[]; readonly key: string | undefined },
): Promise<Feedback | Unreadable> {
  const actionId = request.action.id;
  const form = formFor(state, request);
  const answer = await askModel(state.model, { messages: how.messages, form, actionId, signal });
  if ('cause' in answer) return withoutVerdict(state, actionId, answer);
  const parsed = parse(state, request, answer);
  if (parsed.verdict !== undefined) {
    if (how.key !== undefined) state.cache?.set(how.key, answer.text);
    return feedbackOf(request, parsed.verdict);
  }
  const cut = answer.isCutOff
    ? `It was cut off at ${state.model.maxReplyTokens} tokens (coaching.maxReplyTokens). `
    : '';
  return { reply: answer.text, problem: `${cut}${parsed.problem}` };
}

async function withoutVerdict(
  { model, budget }: CoachState,
  actionId: string,
  { cause, isSpent }: { readonly cause: string; readonly isSpent?: boolean },
): Promise<Feedback> {
  if (isSpent && budget?.whenSpent === 'pause') {
    await model.ledger.settled();
    throw spentError(model.name, budget, model.ledger.usage());
  }
  return { kind: 'unscored', actionId, cause };
}

/** The material again, the reply, and what was wrong with it: a judge needs the case to judge. */
function repairTurn(question: ModelMessage, { reply, problem }: Unreadable): ModelMessage[] {
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
  const { upstreamAgent, ...rest } = verdict;
  const isKnown = earlier.some((played) => played.agent === upstreamAgent);
  const blamed =
    rest.blame === 'upstream' && isKnown && upstreamAgent !== undefined
      ? { blamedAgent: upstreamAgent }
      : {};
  return { kind: 'scored', actionId: action.id, ...rest, ...blamed };
}

async function check(state: CoachState): Promise<void> {
  const { model, budget } = state;
  const reply = await askWhetherReady(state);
  if (!('cause' in reply)) return;
  if (reply.isSpent && budget?.whenSpent === 'pause') {
    throw spentError(model.name, budget, model.ledger.usage());
  }
  if (reply.isSpent) return;
  if (reply.isRateLimited) {
    throw new BoundaryError(
      'coach',
      `The coach ${model.name} takes no more calls at the moment: ${reply.cause}; wait and start again, or use a key with a higher limit.`,
      { retryable: true },
    );
  }
  const what = /HTTP \d/.test(reply.cause) ? 'gives no usable reply' : 'cannot be reached';
  throw new BoundaryError(
    'coach',
    `The coach ${model.name} ${what}: ${reply.cause}; check the address and that it is running.`,
    { retryable: true },
  );
}

/** Asks again after a wait that the provider asks for, as long as an outage may last. */
async function askWhetherReady({ model, patienceMs, onPause }: CoachState): Promise<Answer> {
  const content = 'Reply with the verdict: reason "ready", score 10, blame "none".';
  const question = { messages: [{ role: 'user', content } as const], form: verdictForm };
  const timeoutMs = Math.min(model.timeoutMs, CHECK_TIMEOUT_MS);
  const end = performance.now() + patienceMs;
  while (true) {
    const reply = await askModel({ ...model, maxAttempts: 2, timeoutMs }, question);
    const waitMs = 'cause' in reply ? reply.askedWaitMs : undefined;
    if (waitMs === undefined || performance.now() + waitMs > end) return reply;
    onPause(
      `the coach ${model.name} asks to wait ${Math.ceil(waitMs / 1000)} s before the first call`,
    );
    await sleep(waitMs);
  }
}
