import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BoundaryError } from '../errors.ts';

/** The three control tokens of a ChatML tokenizer. */
const chatmlTokens = {
  endOfText: '<|endoftext|>',
  startOfTurn: '<|im_start|>',
  endOfTurn: '<|im_end|>',
} as const;

/** ChatML; tool results stand in a user turn, consecutive ones in the same turn, as Qwen writes them. */
export const chatmlTemplate = `{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}
{{- '<|im_start|>user' -}}
{%- endif -%}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- else -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}`;

/** What the template itself writes, so that every turn costs few tokens. */
const templateWords = [
  'system',
  'user',
  'assistant',
  '<tool_response>\n',
  '\n</tool_response>',
] as const;

export type BuildTokenizerOptions = {
  /**
   * Strings that become one token each, taken literally (`' the'` and `'the'` are two words, `'print('` is fine).
   * A word that ends in a letter or digit matches only where that run of letters or digits ends.
   */
  readonly words: readonly string[];
  /** Numbers 0..numbers-1 are one token each, at most 1000; default 1000. */
  readonly numbers?: number;
  /** Jinja source; default `chatmlTemplate`. */
  readonly chatTemplate?: string;
};

/** The files of a tokenizer in the Hugging Face layout, as objects to be written as JSON. */
export type TokenizerFiles = {
  readonly tokenizer: object;
  readonly config: object;
  readonly vocabSize: number;
  /** Ids of `chatmlTokens`. */
  readonly endOfText: number;
  readonly startOfTurn: number;
  readonly endOfTurn: number;
};

/** The printable character that stands for each byte in byte-level vocabularies (GPT-2's table). */
function byteCharacters(): string[] {
  const isPrintable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(isPrintable(byte) ? byte : next++),
  );
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** The word as a pattern that does not stop inside a run of letters or digits. */
function wordPattern(word: string): string {
  if (/\p{L}$/u.test(word)) return `${escapeRegex(word)}(?!\\p{L})`;
  if (/\p{N}$/u.test(word)) return `${escapeRegex(word)}(?!\\p{N})`;
  return escapeRegex(word);
}

/**
 * The pre-tokenizer's pattern: a word (longest first), else a run of letters, else up to three digits, else one character.
 * A run that is not in the vocabulary as a whole falls apart into bytes.
 */
function splitPattern(words: readonly string[]): string {
  const longestFirst = [...words].sort((a, b) => b.length - a.length || (a < b ? -1 : 1));
  return [
    ...longestFirst.map(wordPattern),
    '\\p{L}+',
    '\\p{N}{1,3}',
    '\\s',
    '[^\\s\\p{L}\\p{N}]',
  ].join('|');
}

function specialToken(id: number, content: string) {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return { id, content, ...flags, special: true };
}

/** Ids: 0–255 are the bytes by value, then numbers from 10 up, then words as given, then the special tokens. */
function buildVocabulary(words: readonly string[], numbers: number): Map<string, number> {
  const characters = byteCharacters();
  const spell = (word: string) =>
    Array.from(new TextEncoder().encode(word), (byte) => characters[byte]).join('');
  const vocabulary = new Map<string, number>();
  const add = (token: string) => {
    if (!vocabulary.has(token)) vocabulary.set(token, vocabulary.size);
  };
  for (const character of characters) add(character);
  for (let number = 10; number < numbers; number++) add(String(number));
  for (const word of words) add(spell(word));
  return vocabulary;
}

function checkOptions(options: BuildTokenizerOptions): void {
  const numbers = options.numbers ?? 1000;
  if (!Number.isInteger(numbers) || numbers < 0 || numbers > 1000)
    throw new BoundaryError('config', `numbers must be an integer from 0 to 1000, got ${numbers}.`);
  const special = Object.values(chatmlTokens).find((token) =>
    options.words.some((word) => word.includes(token)),
  );
  if (special !== undefined)
    throw new BoundaryError('config', `words must not contain the control token ${special}.`);
  if (options.words.includes(''))
    throw new BoundaryError('config', 'words must not contain an empty string.');
}

/**
 * A small byte-level tokenizer: any text round-trips, numbers below 1000 and the given words are one token each.
 * Words are reached by the pre-tokenizer's pattern, not as added tokens, because the JavaScript library ignores
 * `single_word` (an added token `12` would split `123`).
 *
 * @throws BoundaryError("config") for an empty word, a word with a control token in it, or `numbers` over 1000
 */
export function buildTokenizerFiles(options: BuildTokenizerOptions): TokenizerFiles {
  checkOptions(options);
  const words = [...new Set([...templateWords, ...options.words])];
  const vocabulary = buildVocabulary(words, options.numbers ?? 1000);
  const endOfText = vocabulary.size;
  const [startOfTurn, endOfTurn] = [endOfText + 1, endOfText + 2];
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      specialToken(endOfText, chatmlTokens.endOfText),
      specialToken(startOfTurn, chatmlTokens.startOfTurn),
      specialToken(endOfTurn, chatmlTokens.endOfTurn),
    ],
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: { Regex: splitPattern(words) },
          behavior: 'Isolated',
          invert: false,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab: Object.fromEntries(vocabulary),
      merges: [],
    },
  };
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: null,
    eos_token: chatmlTokens.endOfTurn,
    pad_token: chatmlTokens.endOfText,
    unk_token: null,
    clean_up_tokenization_spaces: false,
    model_max_length: 1_000_000,
    chat_template: options.chatTemplate ?? chatmlTemplate,
  };
  return { tokenizer, config, vocabSize: endOfTurn + 1, endOfText, startOfTurn, endOfTurn };
}

/** Writes `tokenizer.json` and `tokenizer_config.json` into a folder, which is made if absent. */
export async function writeTokenizerFiles(directory: string, files: TokenizerFiles): Promise<void> {
  await mkdir(directory, { recursive: true });
  const write = (name: string, content: object) =>
    writeFile(join(directory, name), `${JSON.stringify(content, null, 2)}\n`);
  await write('tokenizer.json', files.tokenizer);
  await write('tokenizer_config.json', files.config);
}
