import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json as readBody } from 'node:stream/consumers';
import { z } from 'zod';
import { messageOf } from '../../src/errors.ts';
import {
  createLocalTrainingService,
  type LocalTrainingServiceOptions,
} from '../../src/service/local/local-training-service.ts';
import type { Sampler } from '../../src/types/training-service.ts';

const completion = z.object({
  model: z.string(),
  prompt: z.array(z.int()),
  max_tokens: z.int(),
  temperature: z.number(),
  seed: z.int().optional(),
  stop_token_ids: z.array(z.int()).optional(),
  logprobs: z.int().optional(),
  prompt_logprobs: z.int().optional(),
  return_token_ids: z.literal(true),
});

export type VllmServer = {
  readonly url: string;
  /** Names of adapters that are loaded. */
  readonly adapters: () => readonly string[];
  readonly close: () => Promise<void>;
};

/** A server that speaks vLLM's OpenAI dialect with runtime loading of LoRA, over the engine of this process. */
export async function startVllmServer(
  engine: LocalTrainingServiceOptions,
  options: {
    readonly baseModel: string;
    /** Loses all adapters once, after so many completions, as a restart does. */
    readonly losesAfter?: number;
    /** Asked before every completion, which it then refuses. */
    readonly isAway?: () => boolean;
  },
): Promise<VllmServer> {
  const service = await createLocalTrainingService(engine);
  const samplers = new Map<string, { sampler: Sampler; close: () => Promise<void> }>();
  const base = await service.baseSampler();
  const samplerOf = (name: string): Sampler => {
    const found = name === options.baseModel ? base : samplers.get(name)?.sampler;
    if (found === undefined) throw new Failure(404, `The model \`${name}\` does not exist.`);
    return found;
  };
  const load = async (body: unknown) => {
    const { lora_name, lora_path } = z
      .object({ lora_name: z.string(), lora_path: z.string() })
      .parse(body);
    if (samplers.has(lora_name)) {
      throw new Failure(400, `The lora adapter '${lora_name}' has already been loaded.`);
    }
    const from = { directory: lora_path, optimizer: false };
    const policy = await service.createPolicy({ id: lora_name, seed: 0, rank: 'stored', from });
    samplers.set(lora_name, { sampler: await policy.publish().result, close: policy.close });
    return `Success: LoRA adapter '${lora_name}' added successfully.`;
  };
  const unload = async (body: unknown) => {
    const { lora_name } = z.object({ lora_name: z.string() }).parse(body);
    await samplers.get(lora_name)?.close();
    if (!samplers.delete(lora_name)) throw new Failure(404, `no adapter '${lora_name}'`);
    return `Success: LoRA adapter '${lora_name}' removed successfully.`;
  };
  let asked = 0;
  const complete = async (body: unknown) => {
    if (options.isAway?.()) throw new Failure(503, 'starting');
    const wish = completion.parse(body);
    if (++asked === options.losesAfter) samplers.clear();
    const sampler = samplerOf(wish.model);
    const prompt = Int32Array.from(wish.prompt);
    const { tokens, logprobs, stop } = await sampler.sample(prompt, {
      ...{ maxTokens: wish.max_tokens, temperature: wish.temperature, seed: wish.seed ?? 0 },
      stopTokens: wish.stop_token_ids ?? [],
    });
    const scores = wish.prompt_logprobs === undefined ? undefined : await sampler.logprobs(prompt);
    const prompt_logprobs =
      scores &&
      Array.from(scores, (logprob, at) =>
        at === 0 ? null : { [String(prompt[at])]: { logprob, rank: 1, decoded_token: '' } },
      );
    const choice = {
      ...{ index: 0, text: '', token_ids: [...tokens], finish_reason: stop },
      logprobs: wish.logprobs === undefined ? null : { token_logprobs: [...logprobs] },
      ...(prompt_logprobs && { prompt_logprobs }),
    };
    return { id: 'cmpl-1', object: 'text_completion', model: wish.model, choices: [choice] };
  };
  const routes: Readonly<Record<string, (body: unknown) => Promise<unknown>>> = {
    '/v1/completions': complete,
    '/v1/load_lora_adapter': load,
    '/v1/unload_lora_adapter': unload,
  };
  const server = createServer((request, response) => {
    const answer = async () => {
      if (request.url === '/v1/models') {
        const list = { object: 'list', data: [{ id: options.baseModel, object: 'model' }] };
        response.writeHead(200, { 'content-type': 'application/json' });
        return response.end(JSON.stringify(list));
      }
      const body = await readBody(request);
      const route = routes[request.url ?? ''];
      if (route === undefined) throw new Failure(404, 'Not Found');
      const result = await route(body);
      // vLLM names no type for its plain answers.
      if (typeof result === 'string') return response.writeHead(200).end(result);
      return response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(result));
    };
    answer().catch((error: unknown) => {
      const status = error instanceof Failure ? error.status : 500;
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message: messageOf(error), code: status } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    adapters: () => [...samplers.keys()],
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await service.close();
    },
  };
}

class Failure extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
