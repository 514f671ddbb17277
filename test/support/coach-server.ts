import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createVertex } from '@ai-sdk/google-vertex';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import type { ModelObject } from '../../src/coach/resolve-model.ts';

/** What a provider's endpoint says, in its own wire format. */
type Wire = {
  readonly model: (url: string) => ModelObject;
  readonly reply: (text: string) => unknown;
  readonly refusal: unknown;
  /** Valid JSON that is not of the protocol. */
  readonly foreign: unknown;
  readonly error: (message: string) => unknown;
};

const usage = { prompt_tokens: 100, completion_tokens: 7, total_tokens: 107 };
const gemini = (candidate: unknown) => ({
  candidates: [candidate],
  usageMetadata: { promptTokenCount: 100, candidatesTokenCount: 7, totalTokenCount: 107 },
});
const chat = (message: unknown, finish: string) => ({
  ...{ id: 'x', object: 'chat.completion', created: 1, model: 'judge', usage },
  choices: [{ index: 0, message, finish_reason: finish }],
});
const responses = (content: unknown) => ({
  ...{ id: 'r', object: 'response', created_at: 1, status: 'completed', model: 'judge' },
  output: [{ type: 'message', id: 'm', role: 'assistant', status: 'completed', content }],
  usage: { input_tokens: 100, output_tokens: 7, total_tokens: 107 },
});
const claude = (content: unknown, stop: string) => ({
  ...{ id: 'm', type: 'message', role: 'assistant', model: 'judge', content },
  ...{ stop_reason: stop, stop_sequence: null },
  usage: { input_tokens: 100, output_tokens: 7 },
});

const geminiWire = {
  reply: (text: string) =>
    gemini({ content: { role: 'model', parts: [{ text }] }, finishReason: 'STOP', index: 0 }),
  refusal: gemini({ finishReason: 'SAFETY', index: 0 }),
  foreign: { candidates: 'none' },
  error: (message: string) => ({ error: { code: 1, message, status: 'x' } }),
};
const openaiError = (message: string) => ({ error: { message, type: 'x', code: 'x' } });

/** The wire formats of the providers that a coach can be of. */
export const wires = {
  google: {
    ...geminiWire,
    model: (url) => createGoogleGenerativeAI({ apiKey: 'k', baseURL: url })('judge'),
  },
  vertex: {
    ...geminiWire,
    model: (url) => createVertex({ apiKey: 'k', baseURL: url })('judge'),
  },
  openai: {
    model: (url) => createOpenAI({ apiKey: 'k', baseURL: url })('judge'),
    reply: (text) => responses([{ type: 'output_text', text, annotations: [] }]),
    refusal: responses([{ type: 'refusal', refusal: 'I will not.' }]),
    foreign: { output: 'none' },
    error: openaiError,
  },
  anthropic: {
    model: (url) => createAnthropic({ apiKey: 'k', baseURL: url })('judge'),
    reply: (text) => claude([{ type: 'text', text }], 'end_turn'),
    refusal: claude([], 'refusal'),
    foreign: { content: 'none' },
    error: (message) => ({ type: 'error', error: { type: 'x', message } }),
  },
  'openai-compatible': {
    model: (url) =>
      createOpenAICompatible({ name: 'local', baseURL: url, supportsStructuredOutputs: true })(
        'judge',
      ),
    reply: (text) => chat({ role: 'assistant', content: text }, 'stop'),
    refusal: chat({ role: 'assistant', content: null }, 'content_filter'),
    foreign: { choices: 'none' },
    error: openaiError,
  },
} satisfies Readonly<Record<string, Wire>>;

export type Provider = keyof typeof wires;

export const goodVerdict = '{"reason":"Sound.","score":8,"blame":"none","upstreamAgent":null}';

type Answer = (response: ServerResponse) => void;

const sends =
  (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  };

/** How an endpoint can fail; each is one answer to one call. */
export const faults = {
  'good verdict': (wire) => sends(200, wire.reply(goodVerdict)),
  '401': (wire) => sends(401, wire.error('bad key')),
  '404 unknown model': (wire) => sends(404, wire.error('there is no model judge')),
  'context too long': (wire) => sends(400, wire.error('maximum context length exceeded')),
  '429 with Retry-After': (wire) => sends(429, wire.error('slow down'), { 'retry-after': '0' }),
  '429 with a date': (wire) =>
    sends(429, wire.error('slow down'), { 'retry-after': new Date(0).toUTCString() }),
  '500': (wire) => sends(500, wire.error('oops'), { 'retry-after-ms': '1' }),
  hang: () => () => undefined,
  'connection reset': () => (response) => void response.socket?.destroy(),
  'reset in mid-reply': (wire) => (response) => {
    const body = JSON.stringify(wire.reply(goodVerdict));
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
    response.write(body.slice(0, 20), () => response.socket?.destroy());
  },
  'reply cut short': (wire) => (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'retry-after-ms': '1' });
    response.end(JSON.stringify(wire.reply(goodVerdict)).slice(0, -9));
  },
  'HTML page': () => (response) => {
    response.writeHead(200, { 'content-type': 'text/html', 'retry-after-ms': '1' });
    response.end('<html>a proxy</html>');
  },
  'HTML page, 502': () => (response) => {
    response.writeHead(502, { 'content-type': 'text/html', 'retry-after-ms': '1' });
    response.end('<html>a proxy</html>');
  },
  'foreign JSON': (wire) => sends(200, wire.foreign, { 'retry-after-ms': '1' }),
  'truncated verdict': (wire) => sends(200, wire.reply(goodVerdict.slice(0, 30))),
  'wrong schema': (wire) => sends(200, wire.reply('{"reason":"r","score":"eight","mood":1}')),
  'score of 11': (wire) => sends(200, wire.reply(goodVerdict.replace('8', '11'))),
  prose: (wire) => sends(200, wire.reply('Accuracy was 0.85, a solid 8.')),
  'empty text': (wire) => sends(200, wire.reply('')),
  refusal: (wire) => sends(200, wire.refusal),
} satisfies Readonly<Record<string, (wire: Wire) => Answer>>;

export type Fault = keyof typeof faults;

/** A local endpoint that speaks one provider's format; the nth call gets the nth fault, the last one for ever. */
export type CoachServer = {
  readonly url: string;
  readonly model: ModelObject;
  /** Calls received. */
  readonly calls: () => number;
  readonly close: () => Promise<void>;
};

export async function startCoachServer(
  provider: Provider,
  plan: readonly Fault[],
  options: { readonly delayMs?: number } = {},
): Promise<CoachServer> {
  const wire: Wire = wires[provider];
  let calls = 0;
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    await readAll(request);
    const fault = plan[Math.min(calls++, plan.length - 1)] ?? 'good verdict';
    const answer = () => faults[fault](wire)(response);
    if (options.delayMs === undefined) answer();
    else setTimeout(answer, options.delayMs);
  };
  const server: Server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return {
    url,
    model: wire.model(url),
    calls: () => calls,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
