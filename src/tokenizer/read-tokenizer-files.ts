import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';

const tokenText = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();

const addedTokenSchema = z.looseObject({
  id: z.int(),
  content: z.string(),
  special: z.boolean().optional(),
});

const tokenizerSchema = z.looseObject({
  model: z.looseObject({ type: z.string().optional() }),
  added_tokens: z.array(addedTokenSchema),
});

const configSchema = z.looseObject({
  bos_token: tokenText,
  eos_token: tokenText,
  pad_token: tokenText,
  unk_token: tokenText,
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish(),
});

const generationSchema = z.looseObject({
  eos_token_id: z.union([z.int(), z.array(z.int())]).nullish(),
});

/** What a checkpoint folder says about its tokenizer. */
export type TokenizerSources = {
  readonly tokenizer: z.infer<typeof tokenizerSchema>;
  readonly config: z.infer<typeof configSchema>;
  /** Jinja source; absent when the folder has none. */
  readonly chatTemplate?: string;
  /** `eos_token_id` of generation_config.json; empty when absent. */
  readonly generationEosIds: readonly number[];
};

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new BoundaryError('config', `Could not read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function parseJson<Schema extends z.ZodType>(
  path: string,
  text: string,
  schema: Schema,
): z.infer<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    throw new BoundaryError('config', `${path} is not in the Hugging Face layout: ${reason}`, {
      cause: error,
    });
  }
}

/** The content of a token entry, which is a string or an object with `content`. */
export function contentOf(token: z.infer<typeof tokenText>): string | undefined {
  return typeof token === 'string' ? token : token?.content;
}

/**
 * Reads tokenizer.json (required), tokenizer_config.json, chat_template.jinja and generation_config.json.
 *
 * @throws BoundaryError("config") when tokenizer.json is missing or a file is malformed
 */
export async function readTokenizerFiles(directory: string): Promise<TokenizerSources> {
  const path = (name: string) => join(directory, name);
  const [tokenizerText, configText, templateText, generationText] = await Promise.all(
    [
      'tokenizer.json',
      'tokenizer_config.json',
      'chat_template.jinja',
      'generation_config.json',
    ].map((name) => readOptional(path(name))),
  );
  if (tokenizerText === undefined)
    throw new BoundaryError(
      'config',
      `Expected a model folder in the Hugging Face layout (config.json, *.safetensors, tokenizer.json), found no tokenizer.json in ${directory}; check the model's path, which a config says in model.path.`,
    );
  const config = parseJson(path('tokenizer_config.json'), configText ?? '{}', configSchema);
  const generation = parseJson(
    path('generation_config.json'),
    generationText ?? '{}',
    generationSchema,
  );
  const named = Array.isArray(config.chat_template)
    ? config.chat_template.find(({ name }) => name === 'default')?.template
    : config.chat_template;
  const chatTemplate = templateText ?? named ?? undefined;
  return {
    tokenizer: parseJson(path('tokenizer.json'), tokenizerText, tokenizerSchema),
    config,
    generationEosIds: [generation.eos_token_id ?? []].flat(),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  };
}
