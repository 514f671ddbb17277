import type { LanguageModel } from 'ai';
import { BoundaryError } from '../errors.ts';

/** A model object of the AI SDK; bare names go through {@link resolveModel}. */
export type ModelObject = Exclude<LanguageModel, string>;

type ModelName = { readonly model: string; readonly url?: string };
type Environment = Readonly<Record<string, string | undefined>>;

type ProviderEntry = {
  /** Environment variables that may hold the key, the usual one first; none = no key needed. */
  readonly keys: readonly string[];
  readonly load: (name: ModelName, key: string | undefined) => Promise<ModelObject>;
};

const PROVIDERS: Readonly<Record<string, ProviderEntry>> = {
  google: {
    keys: ['GOOGLE_GENERATIVE_AI_API_KEY', 'GEMINI_API_KEY', 'GOOGLE_API_KEY'],
    load: async ({ model }, key) => {
      const { createGoogleGenerativeAI } = await import('@ai-sdk/google');
      return createGoogleGenerativeAI(key === undefined ? {} : { apiKey: key })(model);
    },
  },
  openai: {
    keys: ['OPENAI_API_KEY'],
    load: async ({ model }, key) => {
      const { createOpenAI } = await import('@ai-sdk/openai');
      return createOpenAI(key === undefined ? {} : { apiKey: key })(model);
    },
  },
  anthropic: {
    keys: ['ANTHROPIC_API_KEY'],
    load: async ({ model }, key) => {
      const { createAnthropic } = await import('@ai-sdk/anthropic');
      return createAnthropic(key === undefined ? {} : { apiKey: key })(model);
    },
  },
  'openai-compatible': {
    keys: [],
    load: async ({ model, url = '' }) => {
      const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible');
      const key = process.env.OPENAI_COMPATIBLE_API_KEY;
      const provider = createOpenAICompatible({
        name: 'openai-compatible',
        baseURL: url,
        supportsStructuredOutputs: true,
        ...(key === undefined ? {} : { apiKey: key }),
      });
      return provider(model);
    },
  },
};

/**
 * A way to load the model that a text names: `google/…`, `openai/…`, `anthropic/…` or `openai-compatible/<model>@<url>`.
 *
 * The name and the key are checked at once; the provider's package is loaded at the first use.
 *
 * @throws BoundaryError("coach") when the provider is unknown, the key is missing or the URL is no URL
 */
export function resolveModel(
  text: string,
  environment: Environment = process.env,
): () => Promise<ModelObject> {
  const [, provider = '', rest = ''] = /^([^/]+)\/(.+)$/s.exec(text) ?? [];
  const entry = Object.hasOwn(PROVIDERS, provider) ? PROVIDERS[provider] : undefined;
  if (entry === undefined) {
    throw new BoundaryError(
      'coach',
      `The coach model "${text}" must be <provider>/<model> with one of ${Object.keys(PROVIDERS).join(', ')}; for example google/gemini-2.5-flash, or openai-compatible/qwen3@http://127.0.0.1:8000/v1.`,
    );
  }
  const name = provider === 'openai-compatible' ? splitUrl(text, rest) : { model: rest };
  const key = entry.keys.map((variable) => environment[variable]).find(Boolean);
  if (entry.keys.length > 0 && key === undefined) {
    throw new BoundaryError(
      'coach',
      `The coach model "${text}" needs a key: set ${entry.keys.join(' or ')} in the environment.`,
    );
  }
  let loaded: Promise<ModelObject> | undefined;
  return () => {
    loaded ??= entry.load(name, key);
    return loaded;
  };
}

function splitUrl(text: string, rest: string): ModelName {
  const at = rest.lastIndexOf('@');
  const name = { model: rest.slice(0, Math.max(0, at)), url: rest.slice(at + 1) };
  if (name.model !== '' && URL.canParse(name.url) && /^https?:/.test(name.url)) return name;
  throw new BoundaryError(
    'coach',
    `The coach model "${text}" must be openai-compatible/<model>@<url>, for example openai-compatible/qwen3@http://127.0.0.1:8000/v1.`,
  );
}
