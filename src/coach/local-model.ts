import { stat } from 'node:fs/promises';
import { BoundaryError } from '../errors.ts';
import { createLocalTrainingService } from '../service/local/local-training-service.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Message } from '../types/message.ts';
import type { Sampler } from '../types/training-service.ts';
import { fingerprintOf } from './identify-model.ts';
import type { ModelObject } from './resolve-model.ts';

type Call = Parameters<
  Extract<ModelObject, { readonly specificationVersion: 'v3' }>['doGenerate']
>[0];

export type LocalModelOptions = {
  readonly device: string;
  readonly dtype: 'float32' | 'bfloat16' | 'float16';
  readonly threads?: number;
  readonly maxRows: number;
};

/** A model of ours as the AI SDK speaks to one, with the engine that must be closed after it. */
export type LocalModel = {
  readonly model: ModelObject;
  /** Changes when a file of the folder does. */
  readonly fingerprint: string;
  readonly close: () => Promise<void>;
};

/**
 * A model folder in the Hugging Face layout as a coach, sampled by our engine with its own chat template. It takes no
 * structured output: what it writes is read as JSON or by the text protocol.
 *
 * @throws BoundaryError when there is no such folder, or the engine or the tokenizer cannot read it
 */
export async function loadLocalModel(
  path: string,
  options: LocalModelOptions,
): Promise<LocalModel> {
  const folder = await stat(path).catch(() => undefined);
  if (!folder?.isDirectory()) {
    throw new BoundaryError(
      'config',
      `The coach model "local/${path}" must name a model folder in the Hugging Face layout; there is none at ${path}.`,
    );
  }
  const tokenizer = await loadTokenizer(path);
  const service = await createLocalTrainingService({ modelDirectory: path, ...options });
  const sampler = await service.baseSampler();
  return {
    model: asModelObject(path, tokenizer, sampler),
    fingerprint: `${await fingerprintOf(path)} in ${options.dtype}`,
    close: () => service.close(),
  };
}

function asModelObject(path: string, tokenizer: Tokenizer, sampler: Sampler): ModelObject {
  return {
    specificationVersion: 'v3',
    provider: 'local',
    modelId: path,
    supportedUrls: {},
    doGenerate: async ({ prompt, maxOutputTokens = 1024, temperature = 0, abortSignal }) => {
      const ids = tokenizer.encodeChat(messagesOf(prompt), { addGenerationPrompt: true });
      const params = {
        ...{ maxTokens: maxOutputTokens, temperature, seed: 1 },
        stopTokens: tokenizer.eosTokenIds,
      };
      const { tokens, stop } = await sampler.sample(
        ids,
        params,
        abortSignal === undefined ? {} : { signal: abortSignal },
      );
      const text = tokenizer.decode(stop === 'stop' ? tokens.subarray(0, -1) : tokens);
      return {
        content: [{ type: 'text', text }],
        finishReason: { unified: stop, raw: stop },
        usage: usageOf(ids.length, tokens.length),
        warnings: [],
      };
    },
    doStream: () => Promise.reject(new BoundaryError('coach', 'A local coach does not stream.')),
  };
}

function usageOf(input: number, output: number) {
  return {
    inputTokens: { total: input, noCache: input, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: output, text: output, reasoning: undefined },
  };
}

/** The texts of a prompt; a coach is sent nothing else. */
function messagesOf(prompt: Call['prompt']): Message[] {
  return prompt.flatMap((message) => {
    if (message.role === 'system') return { role: 'system', content: message.content };
    if (message.role === 'tool') return [];
    const parts = message.content.flatMap((part) => (part.type === 'text' ? part.text : []));
    return { role: message.role, content: parts.join('\n') };
  });
}
