import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CoachRequest } from '../types/feedback.ts';
import type { Action } from '../types/trajectory.ts';
import { createMemoryBooks, Ledger } from './ledger.ts';
import { createLlmCoach, type LlmCoachOptions } from './llm-coach.ts';

/** What the server does with one request. */
type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** A real local server that speaks the chat completions protocol; the nth request gets the nth answer. */
let server: Server;
let answers: Answer[] = [];
let bodies: ChatRequest[] = [];
let inFlight = 0;
let mostInFlight = 0;

type ChatRequest = {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly response_format?: { readonly type: string };
};

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  inFlight += 1;
  mostInFlight = Math.max(mostInFlight, inFlight);
  bodies.push(JSON.parse(await readAll(request)) as ChatRequest);
  const answer = answers.length > 1 ? answers.shift() : answers[0];
  response.on('close', () => {
    inFlight -= 1;
  });
  answer?.(response, request);
}

beforeEach(async () => {
  answers = [];
  bodies = [];
  inFlight = 0;
  mostInFlight = 0;
  server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const says =
  (content: string, finishReason = 'stop'): Answer =>
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({
        id: 'x',
        object: 'chat.completion',
        created: 1,
        model: 'judge',
        choices: [
          { index: 0, message: { role: 'assistant', content }, finish_reason: finishReason },
        ],
        usage: { prompt_tokens: 100, completion_tokens: 7, total_tokens: 107 },
      }),
    );
  };

const fails =
  (status: number, message: string, headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify({ error: { message, type: 'x', code: 'x' } }));
  };

const hangs: Answer = () => undefined;

const good = '{"reason":"Sound.","score":8,"blame":"none","upstreamAgent":null}';

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;

const coachWith = (options: Partial<LlmCoachOptions> = {}) =>
  createLlmCoach({
    model: `openai-compatible/judge@${url()}`,
    team: { solver: { role: 'Problem Solver', instructions: 'drafts a solution' } },
    timeoutMs: 20_000,
    concurrency: 4,
    maxAttempts: 3,
    ...options,
  });

const action: Action = {
  id: '0/t/0/1',
  agent: 'verifier',
  role: 'Verifier',
  policy: { id: 'verifier', version: 0 },
  turn: 1,
  seed: 1,
  observation: Int32Array.of(1),
  observationText: 'what it saw',
  tokens: Int32Array.of(2),
  logprobs: Float32Array.of(-1),
  text: 'I say \\boxed{4} for $& dollars',
  toolCalls: [],
  toolResults: [],
  stop: 'stop',
};
const request: CoachRequest = {
  task: { id: 't', prompt: 'What is 2 + 2?', answer: 'GOLD' },
  action,
  earlier: [{ ...action, id: '0/t/0/0', agent: 'solver', text: 'It is five.' }],
};
const scored = { kind: 'scored', actionId: '0/t/0/1', score: 8, reason: 'Sound.', blame: 'none' };

describe('the LLM coach', () => {
  it('gives the verdict of a structured reply and counts its usage', async () => {
    answers = [says(good)];
    const coach = coachWith();
    expect(await coach.score(request)).toEqual(scored);
    expect(coach.usage()).toEqual({ calls: 1, cached: 0, inputTokens: 100, outputTokens: 7 });
    expect(bodies[0]?.response_format?.type).toBe('json_schema');
    const prompt = bodies[0]?.messages[0]?.content ?? '';
    for (const shown of [
      'What is 2 + 2?',
      'what it saw',
      'for $& dollars',
      'It is five.',
      'drafts a',
    ]) {
      expect(prompt).toContain(shown);
    }
    expect(prompt).not.toMatch(/GOLD|\{\{/);
  });

  it('shows the ground truth only where it is asked to', async () => {
    answers = [says(good)];
    await coachWith({ showAnswer: true }).score(request);
    expect(bodies[0]?.messages[0]?.content).toContain('GOLD');
  });

  it('reads a fenced reply without asking again', async () => {
    answers = [says(`\`\`\`json\n${good}\n\`\`\``)];
    expect(await coachWith().score(request)).toEqual(scored);
    expect(bodies).toHaveLength(1);
  });

  it('reads the text protocol where the reply is not JSON', async () => {
    answers = [says('Sound.\n**PROCESS_SCORE: 8/10**')];
    const coach = coachWith();
    expect(await coach.score(request)).toEqual(scored);
    expect(coach.usage()).toEqual({ calls: 1, cached: 0, inputTokens: 100, outputTokens: 7 });
  });

  it('blames an earlier agent by name, and drops names it does not know', async () => {
    const blaming = (name: string) =>
      says(`{"reason":"r","score":3,"blame":"upstream","upstreamAgent":"${name}"}`);
    answers = [blaming('solver'), blaming('nobody')];
    const coach = coachWith();
    expect(await coach.score(request)).toMatchObject({ blame: 'upstream', blamedAgent: 'solver' });
    expect(await coach.score(request)).not.toHaveProperty('blamedAgent');
  });

  it('repairs a malformed reply in one turn that holds the material again', async () => {
    answers = [says('{"reason": "So", "score": 8'), says(good)];
    const coach = coachWith();
    expect(await coach.score(request)).toEqual(scored);
    expect(coach.usage()).toEqual({ calls: 2, cached: 0, inputTokens: 200, outputTokens: 14 });
    expect(bodies[1]?.messages.map((message) => message.role)).toEqual([
      'user',
      'assistant',
      'user',
    ]);
    expect(bodies[1]?.messages[0]?.content).toContain('What is 2 + 2?');
    expect(bodies[1]?.messages[2]?.content).toContain('could not be read');
  });

  it('asks again for a score of eleven, and leaves the action unscored when it insists', async () => {
    answers = [says('{"reason":"r","score":11,"blame":"none","upstreamAgent":null}')];
    const feedback = await coachWith().score(request);
    expect(feedback).toMatchObject({
      kind: 'unscored',
      cause: expect.stringMatching(/after a repair.*10/s),
    });
    expect(bodies).toHaveLength(2);
  });

  it('never takes a number out of prose', async () => {
    answers = [says('Accuracy was 0.85, I would say.')];
    expect(await coachWith().score(request)).toMatchObject({ kind: 'unscored' });
  });

  it.each([
    [401, 'bad key'],
    [403, 'forbidden'],
    [404, 'the model judge does not exist'],
    [400, 'the temperature must not be negative'],
  ])('stops the run at once on HTTP %d', async (status, message) => {
    answers = [fails(status, message)];
    const failed = coachWith().score(request);
    await expect(failed).rejects.toMatchObject({ boundary: 'coach', retryable: false });
    await expect(failed).rejects.toThrow(`HTTP ${status}: ${message}`);
    expect(bodies).toHaveLength(1);
  });

  it('stops on an empty account, which answers 429 like a busy one', async () => {
    answers = [fails(429, 'insufficient_quota: pay')];
    await expect(coachWith().score(request)).rejects.toThrow(/429/);
  });

  it('waits as long as Retry-After asks and tries again', async () => {
    answers = [fails(429, 'slow down', { 'retry-after': '0' }), says(good)];
    expect(await coachWith().score(request)).toEqual(scored);
  });

  it('does not wait for a Retry-After beyond the deadline', async () => {
    answers = [fails(429, 'slow down', { 'retry-after': '3600' }), says(good)];
    expect(await coachWith().score(request)).toMatchObject({
      kind: 'unscored',
      cause: expect.stringMatching(/429.*3600 s would pass the deadline/),
    });
  });

  it('tries again after a 500', async () => {
    answers = [fails(500, 'oops', { 'retry-after-ms': '1' }), says(good)];
    const coach = coachWith();
    expect(await coach.score(request)).toEqual(scored);
    expect(coach.usage()).toEqual({ calls: 2, cached: 0, inputTokens: 100, outputTokens: 7 });
  });

  it('tries again when what comes is not of the protocol', async () => {
    answers = [
      (response) => {
        response.writeHead(200, { 'content-type': 'text/html', 'retry-after-ms': '1' });
        response.end('<html>proxy</html>');
      },
      says(good),
    ];
    expect(await coachWith().score(request)).toEqual(scored);
  });

  it('gives up after the tries it has, with the cause', async () => {
    answers = [fails(503, 'overloaded', { 'retry-after-ms': '1' })];
    expect(await coachWith().score(request)).toEqual({
      kind: 'unscored',
      actionId: '0/t/0/1',
      cause: 'no reply in 3 tries; the last: HTTP 503: overloaded',
    });
    expect(bodies).toHaveLength(3);
  });

  it('leaves the action unscored when the deadline passes', async () => {
    answers = [hangs];
    expect(await coachWith({ timeoutMs: 150 }).score(request)).toEqual({
      kind: 'unscored',
      actionId: '0/t/0/1',
      cause: 'timeout after 0.15 s',
    });
  });

  it('leaves the action unscored when nothing listens, and check() says so', async () => {
    const coach = coachWith({
      model: 'openai-compatible/judge@http://127.0.0.1:1/v1',
      maxAttempts: 1,
    });
    expect(await coach.score(request)).toMatchObject({
      kind: 'unscored',
      cause: expect.stringMatching(/no reply in 1 tries/),
    });
    await expect(coach.check()).rejects.toThrow(/cannot be reached.*check the address/);
  });

  it('check() tells a server that answers with something else from one that is away', async () => {
    const page: Answer = (response) =>
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>');
    answers = [page, page];
    await expect(coachWith({ maxAttempts: 2 }).check()).rejects.toThrow(
      /gives no usable reply: .*HTTP 200.*check the address/,
    );
  });

  it('passes the abort of its caller on, as no verdict at all', async () => {
    const stop = new AbortController();
    answers = [() => stop.abort(new Error('stopped by hand'))];
    await expect(coachWith().score(request, { signal: stop.signal })).rejects.toThrow(
      'stopped by hand',
    );
  });

  it('asks in plain text where the endpoint takes no structured output', async () => {
    answers = [fails(400, 'response_format is not supported'), says('Sound.\nPROCESS_SCORE: 8')];
    expect(await coachWith({ maxAttempts: 1 }).score(request)).toEqual(scored);
    expect(bodies[1]).not.toHaveProperty('response_format');
  });

  it('asks in plain text again for every call that was in flight when the endpoint refused the form', async () => {
    const ready = Promise.withResolvers<void>();
    const refuseTogether: Answer = (...given) => {
      if (inFlight === 4) ready.resolve();
      void ready.promise.then(() => fails(400, 'response_format is not supported')(...given));
    };
    answers = [
      ...Array.from({ length: 4 }, () => refuseTogether),
      says('Sound.\nPROCESS_SCORE: 8'),
    ];
    const coach = coachWith({ maxAttempts: 1 });
    const verdicts = await Promise.all(Array.from({ length: 4 }, () => coach.score(request)));
    expect(verdicts).toEqual(Array.from({ length: 4 }, () => scored));
    expect(bodies).toHaveLength(8);
  });

  it('learns from its check that the endpoint takes no structured output', async () => {
    answers = [fails(400, 'response_format is not supported'), says('Sound.\nPROCESS_SCORE: 8')];
    const coach = coachWith();
    await coach.check();
    expect(await coach.score(request)).toEqual(scored);
    expect(bodies.map((body) => 'response_format' in body)).toEqual([true, false, false]);
  });

  it('asks again for a verdict that was cut off: its last figure may be half a number', async () => {
    answers = [says('Sound.\nPROCESS_SCORE: 1', 'length'), says('Sound.\nPROCESS_SCORE: 8')];
    expect(await coachWith().score(request)).toEqual(scored);
    expect(bodies[1]?.messages.at(-1)?.content).toContain('It was cut off at 8192 tokens');
  });

  it('has no more calls in flight than allowed', async () => {
    answers = [(response, asked) => void setTimeout(() => says(good)(response, asked), 20)];
    const coach = coachWith({ concurrency: 2 });
    await Promise.all(Array.from({ length: 6 }, () => coach.score(request)));
    expect(bodies).toHaveLength(6);
    expect(mostInFlight).toBe(2);
  });

  it('passes its check when the model answers', async () => {
    answers = [says(good)];
    await expect(coachWith().check()).resolves.toBeUndefined();
  });

  it('lets calls under way end before it stops for a spent budget: they are paid for', async () => {
    const slow: Answer = (...given) => void setTimeout(() => says(good)(...given), 300);
    answers = [slow];
    const budget = { calls: 3, whenSpent: 'pause' } as const;
    const ledger = new Ledger({ model: 'judge', books: createMemoryBooks(), budget });
    const coach = coachWith({ ledger, budget, concurrency: 8 });
    const ended: string[] = [];
    const asked = Array.from({ length: 4 }, (_, at) =>
      coach.score({ ...request, action: { ...action, id: `${at}` } }).then(
        () => ended.push('scored'),
        (error: Error) => ended.push(error.message),
      ),
    );
    await Promise.all(asked);
    expect(ended.filter((end) => end === 'scored')).toHaveLength(3);
    expect(ended.find((end) => end !== 'scored')).toMatch(/is spent \(3 of 3 calls used/);
  });

  it('waits as long as the coach asks before its first call, beyond the deadline of one, and says so', async () => {
    answers = [fails(429, 'slow down', { 'retry-after-ms': '2600' }), says(good)];
    const notes: string[] = [];
    await coachWith({ timeoutMs: 2_500, onPause: (note) => notes.push(note) }).check();
    expect(notes).toEqual([expect.stringContaining('asks to wait 3 s before the first call')]);
    expect(bodies).toHaveLength(2);
  });

  it('does not start where the coach asks for a longer wait than an outage may last', async () => {
    answers = [fails(429, 'slow down', { 'retry-after': '3600' })];
    const check = coachWith({ outageMs: 60_000 }).check();
    await expect(check).rejects.toThrow(/takes no more calls at the moment.*3600 s/);
    expect(bodies).toHaveLength(1);
  });

  it('refuses a rubric with an unknown slot', () => {
    expect(() => coachWith({ rubric: '{{written}} {{fence}} {{wrtten}}' })).toThrow(
      /\{\{wrtten\}\}/,
    );
  });
});
