import type { LanguageModel } from 'ai';
import { BoundaryError, messageOf } from '../errors.ts';

/** A model object of the AI SDK; bare names go through {@link resolveModel}. */
export type ModelObject = Exclude<LanguageModel, string>;

type ModelName = { readonly model: string; readonly url?: string };
type Environment = Readonly<Record<string, string | undefined>>;

type ProviderEntry = {
  readonly packageName: string;
  /** Environment variables that may hold the key, the usual one first; none = no key needed. */
  readonly keys: readonly string[];
  /** What to set where none of the keys is; absent = one of the keys. */
  readonly instead?: readonly string[];
  readonly load: (
    name: ModelName,
    key: string | undefined,
    environment: Environment,
  ) => Promise<ModelObject>;
};

const PROVIDERS: Readonly<Record<string, ProviderEntry>> = {
  google: {
    packageName: '@ai-sdk/google',
    keys: ['GOOGLE_GENERATIVE_AI_API_KEY', 'GEMINI_API_KEY', 'GOOGLE_API_KEY'],
    load: async ({ model }, key) => {
      const { createGoogleGenerativeAI } = await import('@ai-sdk/google');
      return createGoogleGenerativeAI(key === undefined ? {} : { apiKey: key })(model);
    },
  },
  vertex: {
    packageName: '@ai-sdk/google-vertex',
    keys: ['GOOGLE_VERTEX_API_KEY'],
    // The login itself is Google's: application default credentials.
    instead: ['GOOGLE_VERTEX_PROJECT', 'GOOGLE_VERTEX_LOCATION'],
    load: async ({ model }, apiKey, environment) => {
      const { createVertex } = await import('@ai-sdk/google-vertex');
      const { GOOGLE_VERTEX_PROJECT: project = '', GOOGLE_VERTEX_LOCATION: location = '' } =
        environment;
      return createVertex(apiKey === undefined ? { project, location } : { apiKey })(model);
    },
  },
  openai: {
    packageName: '@ai-sdk/openai',
    keys: ['OPENAI_API_KEY'],
    load: async ({ model }, key) => {
      const { createOpenAI } = await import('@ai-sdk/openai');
      return createOpenAI(key === undefined ? {} : { apiKey: key })(model);
    },
  },
  anthropic: {
    packageName: '@ai-sdk/anthropic',
    keys: ['ANTHROPIC_API_KEY'],
    load: async ({ model }, key) => {
      const { createAnthropic } = await import('@ai-sdk/anthropic');
      return createAnthropic(key === undefined ? {} : { apiKey: key })(model);
    },
  },
  'openai-compatible': {
    packageName: '@ai-sdk/openai-compatible',
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
 * A way to load the model that a text names: `google/…`, `vertex/…`, `openai/…`, `anthropic/…` or
 * `openai-compatible/<model>@<url>`.
 *
 * The name and the key are checked at once; the provider's package is loaded at the first use.
 *
 * @throws BoundaryError("coach") when the provider is unknown, the key is missing or the URL is no URL; the loader, when
 * the package is missing
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
      `The coach model "${text}" must be <provider>/<model> with one of ${Object.keys(PROVIDERS).join(', ')}, local; for example google/gemini-2.5-flash, openai-compatible/qwen3@http://127.0.0.1:8000/v1, or local/models/qwen3.`,
    );
  }
  const name = provider === 'openai-compatible' ? splitUrl(text, rest) : { model: rest };
  const key = findKey(text, entry, environment);
  let loaded: Promise<ModelObject> | undefined;
  return () => {
    loaded ??= loadEntry(text, entry, () => entry.load(name, key, environment));
    return loaded;
  };
}

/** @throws BoundaryError("coach") naming what to set */
function findKey(
  text: string,
  { keys, instead }: ProviderEntry,
  environment: Environment,
): string | undefined {
  const key = keys.map((variable) => environment[variable]).find(Boolean);
  if (key !== undefined || keys.length === 0) return key;
  if (instead?.every((variable) => environment[variable])) return undefined;
  const other =
    instead === undefined ? '' : `, or ${instead.join(' and ')} with a login by gcloud,`;
  throw new BoundaryError(
    'coach',
    `The coach model "${text}" needs a key: set ${keys.join(' or ')}${other} in the environment.`,
  );
}

/** @throws BoundaryError("coach") with the command that installs the provider's package where it is missing */
async function loadEntry(
  text: string,
  { packageName }: ProviderEntry,
  load: () => Promise<ModelObject>,
): Promise<ModelObject> {
  try {
    return await load();
  } catch (cause) {
    const isMissing = (cause as { readonly code?: unknown }).code === 'ERR_MODULE_NOT_FOUND';
    throw new BoundaryError(
      'coach',
      isMissing
        ? `The coach model "${text}" needs the package ${packageName}: npm install ${packageName}.`
        : `The coach model "${text}" could not be set up: ${messageOf(cause)}`,
      { cause },
    );
  }
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
