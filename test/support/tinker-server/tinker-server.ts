import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import { z } from 'zod';
import { messageOf } from '../../../src/errors.ts';
import type { LocalTrainingServiceOptions } from '../../../src/service/local/local-training-service.ts';
import type { ServerKind } from '../../../src/service/tinker/profile.ts';
import { type Fault, faults, resultFaults, sends } from './faults.ts';
import { Models, Refusal } from './models.ts';
import {
  decodePassRequest,
  encodePassOutput,
  encodeSampleOutput,
  type PassOutput,
  passRequest,
  type SampleOutput,
} from './wire.ts';

/** One request as it came. */
export type Seen = {
  readonly method: string;
  /** Below `/api/v1`. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
};

export type TinkerServerOptions = {
  readonly kind: ServerKind;
  readonly engine: LocalTrainingServiceOptions;
  /** Saved states, which outlive a restart. */
  readonly directory: string;
  /** Absent = one that is free. */
  readonly port?: number;
  readonly baseModel?: string;
  /** Adapters that it has places for; absent = any number. */
  readonly places?: number;
  /** What to do to a request instead of answering it. */
  readonly fault?: (seen: Seen) => Fault | undefined;
  /** Keys that are let in; absent = all, and none is asked for. */
  readonly keys?: readonly string[];
  /** Takes passes that are compressed with zstd. */
  readonly takesZstd?: boolean;
  /** Exchanges keys for tokens, and refuses the keys themselves elsewhere. */
  readonly hasTokens?: boolean;
  /** Replaces a result, to see what the client does with a wrong one. */
  readonly alter?: (result: unknown) => unknown;
};

export type TinkerServer = {
  readonly url: string;
  /** All requests, oldest first. */
  readonly seen: readonly Seen[];
  /** Forgets sessions, models, samplers and promises; saved states stay. */
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
};

type Promised = { readonly done: Promise<unknown>; readonly kind: 'pass' | 'sample' | 'other' };

const json = z.record(z.string(), z.unknown());

/** A server that speaks the Tinker protocol as one kind of server does, over the engine of this process. */
export async function startTinkerServer(options: TinkerServerOptions): Promise<TinkerServer> {
  const state = new ServerState(options, await openModels(options));
  const seen: Seen[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const path = (request.url ?? '').replace(/^\/api\/v1/, '');
    const sent = await buffer(request);
    const isCompressed = options.takesZstd && request.headers['content-encoding'] === 'zstd';
    const body = isCompressed ? zstdDecompressSync(sent) : sent;
    const method = request.method ?? '';
    const one: Seen = { method, path, headers: request.headers, body };
    seen.push(one);
    await state.answer(one, response);
  };
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.socket?.destroy());
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    restart: async () => state.restart(await openModels(options)),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await state.close();
    },
  };
}

function openModels({ engine, ...options }: TinkerServerOptions): Promise<Models> {
  return Models.open(engine, options);
}

class ServerState {
  readonly #options: TinkerServerOptions;
  #models: Models;
  readonly #sessions = new Set<string>();
  readonly #promises = new Map<string, Promised>();
  /** Model and number → what was asked under it. */
  readonly #sequences = new Map<string, { readonly body: Buffer; readonly requestId: string }>();
  readonly #last = new Map<string, number>();
  #count = 0;
  #generation = 0;

  constructor(options: TinkerServerOptions, models: Models) {
    this.#options = options;
    this.#models = models;
  }

  async restart(models: Models): Promise<void> {
    this.#generation += 1;
    const before = this.#models;
    this.#models = models;
    this.#sessions.clear();
    this.#promises.clear();
    this.#sequences.clear();
    this.#last.clear();
    await before.close();
  }

  close(): Promise<void> {
    return this.#models.close();
  }

  async answer(seen: Seen, response: ServerResponse): Promise<void> {
    const fault = this.#options.fault?.(seen);
    if (fault !== undefined && fault in resultFaults) {
      resultFaults[fault as keyof typeof resultFaults](response);
      return;
    }
    const generation = this.#generation;
    const faulty = fault === undefined ? undefined : faults[fault as keyof typeof faults];
    const send = faulty?.isDone === false ? undefined : await this.#answerTo(seen);
    // What a server was doing when it was restarted is not answered.
    if (generation !== this.#generation) response.socket?.destroy();
    else if (faulty !== undefined) faulty.answer(response);
    else send?.(response);
  }

  async #answerTo(seen: Seen): Promise<(response: ServerResponse) => void> {
    try {
      this.#checkKey(seen);
      return await this.#handle(seen);
    } catch (error) {
      const status = error instanceof Refusal ? error.status : 500;
      return sends(status, { detail: messageOf(error) });
    }
  }

  #checkKey({ path, headers }: Seen): void {
    const { keys, hasTokens } = this.#options;
    if (keys === undefined) return;
    const shown = String(headers['x-api-key'] ?? '');
    const needsToken = hasTokens === true && !['/auth/token', '/client/config'].includes(path);
    const isKnown = needsToken ? shown === testToken : keys.includes(shown);
    if (!isKnown) throw new Refusal(401, 'Invalid key');
  }

  async #handle(seen: Seen): Promise<(response: ServerResponse) => void> {
    if (seen.method === 'GET') return this.#handleGet(seen.path);
    const isPass = seen.path === '/forward' || seen.path === '/forward_backward';
    if (isPass) return this.#handlePass(seen);
    const body = json.parse(JSON.parse(seen.body.toString()));
    if (seen.path === '/retrieve_future') return this.#handleFuture(seen, String(body.request_id));
    return sends(200, await this.#handlePost(seen, body));
  }

  async #handleGet(path: string): Promise<(response: ServerResponse) => void> {
    const { baseModel = 'tiny' } = this.#options;
    if (path === '/get_server_capabilities') {
      return sends(200, { supported_models: [{ model_name: baseModel }] });
    }
    const [, model = '', rest] =
      /^\/training_runs\/([^/]+)\/checkpoints\/[^/]+\/(\w+)$/.exec(path) ?? [];
    if (rest === 'archive') {
      const location = `/api/v1${path.replace(/archive$/, 'download')}`;
      return (response) => response.writeHead(302, { location }).end();
    }
    if (rest !== 'download') throw new Refusal(404, 'Not Found');
    const bytes = await this.#models.archive(model);
    return (response) =>
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(bytes);
  }

  async #handlePost(seen: Seen, body: Record<string, unknown>): Promise<unknown> {
    const text = (name: string) => z.string().parse(body[name]);
    switch (seen.path) {
      case '/client/config':
        return {
          pjwt_auth_enabled: this.#options.hasTokens ?? false,
          proto_compress_fwdbwd: this.#options.takesZstd ?? false,
        };
      case '/auth/token':
        return { jwt: testToken };
      case '/create_session': {
        const session_id = `session_${randomUUID().slice(0, 8)}`;
        this.#sessions.add(session_id);
        return { type: 'create_session', session_id };
      }
      case '/session_heartbeat':
        this.#checkSession(text('session_id'));
        return { type: 'session_heartbeat' };
      case '/create_sampling_session':
        this.#checkSession(text('session_id'));
        return { sampling_session_id: this.#models.openSampler(undefined) };
      case '/create_model':
        return this.#createModel(body);
      case '/asample':
        return this.#sample(body);
      case '/unload_model':
        return this.#promise('other', () => this.#models.unload(text('model_id')));
      case '/optim_step':
      case '/save_weights':
      case '/save_weights_for_sampler':
      case '/load_weights':
        return this.#inSequence(seen, body, () => this.#training(seen.path, body));
      default:
        throw new Refusal(404, 'Not Found');
    }
  }

  #checkSession(id: string): void {
    if (!this.#sessions.has(id)) throw new Refusal(404, 'Session not found');
  }

  #createModel(body: Record<string, unknown>) {
    const { session_id, base_model, lora_config } = z
      .object({
        session_id: z.string(),
        base_model: z.string(),
        lora_config: z.object({ rank: z.int(), seed: z.int().optional() }),
      })
      .parse(body);
    this.#checkSession(session_id);
    const model_id = `model_${randomUUID().slice(0, 8)}`;
    // Later requests may come before it is made.
    const made = this.#models.create(model_id, session_id, lora_config);
    const accepted = this.#promise('other', () => made);
    return { ...accepted, model_id, base_model, lora_config, status: 'created' };
  }

  #sample(body: Record<string, unknown>) {
    const wish = z
      .object({
        sampling_session_id: z.string(),
        prompt: z.object({ chunks: z.array(z.object({ tokens: z.array(z.int()) })) }),
        sampling_params: z.object({
          max_tokens: z.int().positive(),
          temperature: z.number(),
          seed: z.int(),
          stop: z.array(z.int()).optional(),
        }),
        prompt_logprobs: z.boolean().optional(),
      })
      .parse(body);
    const { max_tokens, temperature, seed, stop = [] } = wish.sampling_params;
    const prompt = Int32Array.from(wish.prompt.chunks.flatMap(({ tokens }) => tokens));
    const shape = { maxTokens: max_tokens, temperature, seed, stop };
    const hasPromptLogprobs = wish.prompt_logprobs ?? false;
    return this.#promise('sample', () =>
      this.#models.sample(wish.sampling_session_id, prompt, { ...shape, hasPromptLogprobs }),
    );
  }

  #training(path: string, body: Record<string, unknown>): Promise<unknown> {
    const id = z.string().parse(body.model_id);
    if (path === '/optim_step') return this.#models.step(id, adamOf(body.adam_params));
    if (path === '/load_weights') {
      return this.#models.load(id, z.string().parse(body.path), z.boolean().parse(body.optimizer));
    }
    const name = z.string().optional().parse(body.path);
    if (path === '/save_weights') return this.#models.save(id, name ?? '');
    const own = name ?? `ss${body.sampling_session_seq_id}_seq${body.seq_id}`;
    return this.#models.saveForSampler(id, own).then((saved) => {
      if (name !== undefined) return saved;
      return {
        ...saved,
        path: null,
        sampling_session_id: this.#models.openSampler(`${id}/${own}`),
      };
    });
  }

  #handlePass(seen: Seen): (response: ServerResponse) => void {
    const isBinary = seen.headers['content-type'] === 'application/x-protobuf';
    if (!isBinary && this.#options.kind === 'tuft') throw new Refusal(415, 'protobuf only');
    const { pass, isForwardOnly } = isBinary
      ? decodePassRequest(Uint8Array.from(seen.body))
      : passFromJson(seen);
    const parsed = passRequest.parse(pass);
    const accepted = this.#inSequence(seen, parsed, () => this.#models.pass(parsed, isForwardOnly));
    return sends(200, accepted);
  }

  async #handleFuture(seen: Seen, id: string): Promise<(response: ServerResponse) => void> {
    const promised = this.#promises.get(id);
    if (promised === undefined) throw new Refusal(404, 'Future not found');
    let result: unknown;
    try {
      result = await promised.done;
    } catch (error) {
      // As each kind of server says that an operation failed.
      const detail = messageOf(error);
      if (this.#options.kind === 'tinker') return sends(200, { error: detail, category: 'user' });
      throw new Refusal(this.#options.kind === 'tuft' ? 422 : 400, detail);
    }
    const sent = this.#options.alter?.(result) ?? result;
    const isBinary = seen.headers.accept === 'application/x-protobuf';
    if (!isBinary || promised.kind === 'other') return sends(200, sent);
    const bytes =
      promised.kind === 'pass'
        ? encodePassOutput(sent as PassOutput)
        : encodeSampleOutput(sent as SampleOutput);
    return (response) =>
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end(bytes);
  }

  /** The same number with the same body is the same request; with another body, or out of turn, it is refused. */
  #inSequence(
    { path, body: bytes }: Seen,
    body: Record<string, unknown>,
    start: () => Promise<unknown>,
  ) {
    const model = z.string().parse(body.model_id);
    const number = z.int().parse(body.seq_id);
    this.#models.get(model);
    const key = `${model}/${number}`;
    const isNumbered = !path.startsWith('/save') || !this.#options.kind.startsWith('skyrl');
    const earlier = isNumbered ? this.#sequences.get(key) : undefined;
    if (earlier !== undefined) {
      if (!earlier.body.equals(bytes)) throw new Refusal(409, 'sequence number was reused');
      return acceptedAs(earlier.requestId);
    }
    const last = this.#last.get(model) ?? 0;
    if (number > last + 1) throw new Refusal(409, `expected sequence number ${last + 1}`);
    if (path.startsWith('/save')) this.#refuseTakenName(path, body);
    this.#last.set(model, Math.max(last, number));
    const accepted = this.#promise(/forward/.test(path) ? 'pass' : 'other', start);
    this.#sequences.set(key, { body: bytes, requestId: accepted.request_id });
    return accepted;
  }

  readonly #names = new Set<string>();

  #refuseTakenName(path: string, body: Record<string, unknown>): void {
    const own = body.path ?? `ss${body.sampling_session_seq_id}_seq${body.seq_id}`;
    const name = `${path} ${body.model_id} ${own}`;
    if (this.#names.has(name)) throw new Refusal(409, `Checkpoint '${own}' already exists`);
    this.#names.add(name);
  }

  #promise(kind: Promised['kind'], start: () => Promise<unknown>) {
    const requestId = String(++this.#count);
    const done = start();
    // Whoever asks for it sees the failure.
    done.catch(() => nextTurn());
    this.#promises.set(requestId, { done, kind });
    return acceptedAs(requestId);
  }
}

function acceptedAs(requestId: string) {
  return { request_id: requestId, future_id: requestId, status: 'pending' };
}

function passFromJson({ path, body }: Seen): { pass: unknown; isForwardOnly: boolean } {
  const isForwardOnly = path === '/forward';
  const { model_id, seq_id, ...inputs } = json.parse(JSON.parse(body.toString()));
  const input = isForwardOnly ? inputs.forward_input : inputs.forward_backward_input;
  return { pass: { model_id, seq_id, input }, isForwardOnly };
}

function adamOf(parameters: unknown) {
  const { learning_rate, beta1, beta2, eps, weight_decay, grad_clip_norm } = z
    .object({
      learning_rate: z.number().nonnegative(),
      beta1: z.number(),
      beta2: z.number(),
      eps: z.number().positive(),
      weight_decay: z.number(),
      grad_clip_norm: z.number().optional(),
    })
    .parse(parameters);
  const limit = grad_clip_norm ? { maxGradNorm: grad_clip_norm } : {};
  return { learningRate: learning_rate, beta1, beta2, eps, weightDecay: weight_decay, ...limit };
}

/** Header and claims of a token that ends in the year 2286. */
export const testToken = `e30.${Buffer.from('{"exp":9999999999}').toString('base64url')}.x`;
