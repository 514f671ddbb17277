import { describe, expect, test } from 'vitest';
import { createMemoryBooks, Ledger } from '../../src/coach/ledger.ts';
import { createLlmCoach, type LlmCoachOptions } from '../../src/coach/llm-coach.ts';
import type { Feedback } from '../../src/types/feedback.ts';
import {
  type CoachServer,
  type Fault,
  type Provider,
  startCoachServer,
  wires,
} from '../support/coach-server.ts';
import { sampleAction } from '../support/sample-run.ts';

const providers = Object.keys(wires) as Provider[];
const requestFor = (id: string) => ({
  task: { id: 't', prompt: 'What is 2 + 2?' },
  action: sampleAction(id),
  earlier: [],
});

function coachOn(server: CoachServer, options: Partial<LlmCoachOptions> = {}) {
  return createLlmCoach({
    ...{ model: server.model, team: {}, maxAttempts: 3, concurrency: 64 },
    ...{ timeoutMs: 20_000, outageMs: 20_000 },
    ...options,
  });
}

/** What one verdict came to when every call meets the fault: the outcome in words, and the calls it took. */
async function outcomeOf(
  provider: Provider,
  plan: readonly Fault[],
  options: Partial<LlmCoachOptions> = {},
): Promise<{ readonly outcome: string; readonly calls: number }> {
  const server = await startCoachServer(provider, plan);
  try {
    const outcome = await coachOn(server, options)
      .score(requestFor('1/t/0/0'))
      .then(describeFeedback, (error: Error) => `the run stops: ${error.message}`);
    return { outcome, calls: server.calls() };
  } finally {
    await server.close();
  }
}

function describeFeedback(feedback: Feedback): string {
  return feedback.kind === 'scored' ? `${feedback.score} points` : `unscored: ${feedback.cause}`;
}

/** Fault → what must become of an action whose every call meets it, and in how many calls. */
const lasting: readonly (readonly [Fault, RegExp, number, Partial<LlmCoachOptions>])[] = [
  ['good verdict', /^8 points$/, 1, {}],
  ['401', /^the run stops: .*refuses every call: HTTP 401: bad key; check its key/, 1, {}],
  ['404 unknown model', /^the run stops: .*HTTP 404: there is no model judge/, 1, {}],
  [
    'context too long',
    /^unscored: the question on action 1\/t\/0\/0 is too long for the coach: HTTP 400: maximum context length exceeded$/,
    1,
    {},
  ],
  ['429 with Retry-After', /^unscored: no reply in 3 tries; the last: HTTP 429: slow down$/, 3, {}],
  ['429 with a date', /^unscored: no reply in 3 tries; the last: HTTP 429: slow down$/, 3, {}],
  ['500', /^unscored: no reply in 3 tries; the last: HTTP 500: oops$/, 3, {}],
  ['hang', /^unscored: timeout after 0\.3 s$/, 1, { timeoutMs: 300 }],
  ['connection reset', /^unscored: no reply in 1 tries/, 1, { maxAttempts: 1 }],
  ['reset in mid-reply', /^unscored: no reply in 1 tries/, 1, { maxAttempts: 1 }],
  ['reply cut short', /^unscored: no reply in 3 tries/, 3, {}],
  ['HTML page', /^unscored: no reply in 3 tries/, 3, {}],
  ['HTML page, 502', /^unscored: no reply in 3 tries; the last: HTTP 502/, 3, {}],
  ['foreign JSON', /^unscored: no reply in 1 tries/, 1, { maxAttempts: 1 }],
  ['truncated verdict', /^unscored: no verdict after a repair: There is neither/, 2, {}],
  ['wrong schema', /^unscored: no verdict after a repair: The verdict does not fit/, 2, {}],
  ['score of 11', /^unscored: no verdict after a repair: The verdict does not fit/, 2, {}],
  ['prose', /^unscored: no verdict after a repair: There is neither/, 2, {}],
  ['empty text', /^unscored: no verdict after a repair: There is neither/, 2, {}],
  ['refusal', /^unscored: /, 1, {}],
];

describe.each(providers)('a coach that speaks as %s does', (provider) => {
  test.each(lasting)('%s', async (fault, expected, calls, options) => {
    const result = await outcomeOf(provider, [fault], options);
    expect(result.outcome).toMatch(expected);
    expect(result.calls).toBe(calls);
  });

  test('a start check that is turned away for too many calls advises to wait', async () => {
    const server = await startCoachServer(provider, ['429 with Retry-After']);
    const check = coachOn(server).check();
    await expect(check).rejects.toThrow(/takes no more calls.*HTTP 429: slow down; wait/);
    await server.close();
  });

  test.each([
    '429 with Retry-After',
    '429 with a date',
    '500',
    'reply cut short',
    'HTML page',
    'HTML page, 502',
    'truncated verdict',
    'wrong schema',
    'empty text',
  ] as const)('%s once, and then a verdict', async (fault) => {
    const result = await outcomeOf(provider, [fault, 'good verdict']);
    expect(result).toEqual({ outcome: '8 points', calls: 2 });
  });
});

describe('64 actions at once', () => {
  const actions = Array.from({ length: 64 }, (_, sample) => requestFor(`1/t/${sample}/0`));
  const wrong = ['500', 'prose', 'good verdict', 'refusal', 'HTML page'] as const;
  const plan = Array.from({ length: 500 }, (_, call) => wrong[call % wrong.length] as Fault);

  test.each([
    ['calls', { calls: 50 }],
    // One call may cost up to a cent here, and costs about a hundredth of one.
    ['money', { usd: 0.012 }],
  ])('never exceed a budget of %s, whatever fails', async (_, limit) => {
    const server = await startCoachServer('openai-compatible', plan);
    const budget = { ...limit, whenSpent: 'outcome' } as const;
    const price = { input: 1, output: 2 };
    const books = createMemoryBooks();
    const ledger = new Ledger({ model: 'judge', books, price, budget });
    const coach = coachOn(server, { ledger, budget, maxAttempts: 5, maxReplyTokens: 500 });
    const verdicts = await Promise.all(actions.map((request) => coach.score(request)));
    const { calls, usd = 0, usdUnknown = 0 } = ledger.usage();
    expect(calls).toBe(server.calls());
    if ('calls' in limit) expect(server.calls()).toBe(50);
    else expect(usd + usdUnknown).toBeLessThanOrEqual(0.012);
    expect(coach.isSpent?.()).toBe(true);
    for (const verdict of verdicts) {
      if (verdict.kind === 'scored') expect(verdict.score).toBe(8);
    }
    await server.close();
  });

  test('a budget that pauses stops with the sentence that says how to go on', async () => {
    const server = await startCoachServer('google', ['good verdict']);
    const budget = { calls: 10, whenSpent: 'pause' } as const;
    const ledger = new Ledger({ model: 'judge', books: createMemoryBooks(), budget });
    const coach = coachOn(server, { ledger, budget });
    const ended = await Promise.allSettled(actions.map((request) => coach.score(request)));
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
    expect(server.calls()).toBe(10);
    // Nobody may take it for a budget after which the run goes on.
    expect(coach.isSpent?.()).toBe(false);
    await expect(coach.check()).rejects.toThrow('10 of 10 calls used');
    await expect(coach.score(requestFor('1/t/64/0'))).rejects.toMatchObject({
      retryable: true,
      message: expect.stringContaining('10 of 10 calls used'),
    });
    await server.close();
  });

  test('an outage pauses them all and costs no action its score', async () => {
    const outage = Array.from({ length: 72 }, () => '500' as const);
    const server = await startCoachServer('anthropic', [...outage, 'good verdict']);
    const said: string[] = [];
    const onPause = (sentence: string) => void said.push(sentence);
    const coach = coachOn(server, { onPause });
    const verdicts = await Promise.all(actions.map((request) => coach.score(request)));
    expect(verdicts.every(({ kind }) => kind === 'scored')).toBe(true);
    expect(said[0]).toMatch(/^paused: waiting for the coach anthropic\/judge \(HTTP 500: oops\)/);
    expect(said.at(-1)).toMatch(/answers again/);
    await server.close();
  });
});
