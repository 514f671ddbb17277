import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Message } from '../types/message.ts';
import { compileChatTemplate, type RenderTemplate } from './chat-template.ts';
import { type AddedToken, neutraliseMessages, type Restore, tokenPattern } from './neutralise.ts';
import { contentOf, readTokenizerFiles, type TokenizerSources } from './read-tokenizer-files.ts';

export type ChatOptions = {
  /** Adds the header of the assistant's next turn; default false. */
  readonly addGenerationPrompt?: boolean;
  /** What the model may call; only for a tokenizer whose template takes tools. */
  readonly tools?: readonly object[];
};

/** A conversation whose last turn was sampled. */
export type SampledChat = {
  /** Ends with the assistant's turn. */
  readonly messages: readonly Message[];
  /** What the sampler was given, followed by what it sampled, the stop token included. */
  readonly ids: Int32Array;
};

/** Text to token ids and back, and conversations to token ids, as the model's own files say. */
export type Tokenizer = {
  /** Highest id + 1; a model's embedding may have more rows. */
  readonly vocabSize: number;
  /** Ids that end a turn or a text: what sampling stops at. */
  readonly eosTokenIds: readonly number[];
  /** Whether the chat template itself tells the model of its tools. */
  readonly takesTools: boolean;
  /** Text of control tokens becomes control tokens; none are added. */
  readonly encode: (text: string) => Int32Array;
  /** Text of control tokens stays text: for what agents, tools and users write. */
  readonly encodePlain: (text: string) => Int32Array;
  /** Ids without a token (a model's padding rows) give no text. Bytes that are not UTF-8 give U+FFFD. */
  readonly decode: (ids: Iterable<number>, options?: { readonly skipSpecial?: boolean }) => string;
  readonly renderChat: (messages: readonly Message[], options?: ChatOptions) => string;
  /** Control tokens come from the template only, never from a message's content (see neutralise.ts). */
  readonly encodeChat: (messages: readonly Message[], options?: ChatOptions) => Int32Array;
  /**
   * The ids of the conversation so far, never re-tokenised, then what the template adds for the new messages, then the
   * header of the assistant's next turn. A turn cut by length gets the end of turn that the template writes.
   *
   * @throws BoundaryError("policy") when the last message is not the assistant's or the template drops its content
   */
  readonly extendChat: (chat: SampledChat, newMessages: readonly Message[]) => Int32Array;
};

export type LoadTokenizerOptions = {
  /** Variables for the chat template, for example `{ enable_thinking: false }`. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
};

/** The parts that the functions below share. */
type Parts = {
  readonly library: LibraryTokenizer;
  /** The same vocabulary with no added tokens: text never becomes a control token. */
  readonly plainLibrary: LibraryTokenizer;
  readonly addedTokens: readonly AddedToken[];
  readonly render: RenderTemplate;
};

const encodeOptions = { add_special_tokens: false } as const;

function createLibrary(sources: TokenizerSources, place: string, addedTokens: readonly object[]) {
  try {
    return new LibraryTokenizer(
      { ...sources.tokenizer, added_tokens: addedTokens },
      { ...sources.config, additional_special_tokens: [] },
    );
  } catch (error) {
    throw new BoundaryError(
      'config',
      `The tokenizer.json in ${place} could not be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

function encodePlain({ plainLibrary }: Parts, text: string): Int32Array {
  return text === ''
    ? new Int32Array()
    : Int32Array.from(plainLibrary.encode(text, encodeOptions).ids);
}

function encode({ library }: Parts, text: string): Int32Array {
  return text === '' ? new Int32Array() : Int32Array.from(library.encode(text, encodeOptions).ids);
}

/** Cuts at the control tokens, which the template wrote, and encodes the stretches between as plain text. */
function encodeRendered(parts: Parts, rendered: string, restore: Restore): Int32Array {
  const idOf = new Map(parts.addedTokens.map(({ content, id }) => [content, id]));
  const stretches: Int32Array[] = [];
  let start = 0;
  for (const match of rendered.matchAll(tokenPattern(parts.addedTokens))) {
    stretches.push(encodePlain(parts, restore(rendered.slice(start, match.index))));
    stretches.push(Int32Array.of(idOf.get(match[0]) as number));
    start = match.index + match[0].length;
  }
  stretches.push(encodePlain(parts, restore(rendered.slice(start))));
  // Not spread into a call: a long document has more tokens than a call may have arguments.
  return Int32Array.from(stretches.flatMap((ids) => [...ids]));
}

function renderChat(parts: Parts, messages: readonly Message[], options: ChatOptions = {}): string {
  const neutral = neutraliseMessages(messages, parts.addedTokens);
  const { addGenerationPrompt = false, tools } = options;
  return neutral.restore(parts.render(neutral.messages, addGenerationPrompt, tools));
}

function encodeChat(
  parts: Parts,
  messages: readonly Message[],
  options: ChatOptions = {},
): Int32Array {
  const neutral = neutraliseMessages(messages, parts.addedTokens);
  const { addGenerationPrompt = false, tools } = options;
  const rendered = parts.render(neutral.messages, addGenerationPrompt, tools);
  return neutral.isChanged
    ? encodeRendered(parts, rendered, neutral.restore)
    : encode(parts, rendered);
}

/** A short word that occurs in no message, to find an assistant turn's end in rendered text. */
function chooseSentinel(messages: readonly Message[]): string {
  let sentinel = 'teamtuneturn';
  while (messages.some(({ content }) => content.includes(sentinel))) sentinel += 'x';
  return sentinel;
}

/** Everything rendered after the sentinel that stands for the assistant's turn. */
function textAfterTurn(rendered: string, sentinel: string): string {
  const position = rendered.lastIndexOf(sentinel);
  if (position < 0)
    throw new BoundaryError(
      'policy',
      "The chat template leaves out the assistant's turn, so the conversation cannot be continued from its token ids.",
    );
  return rendered.slice(position + sentinel.length);
}

function extendChat(
  parts: Parts,
  endTokens: readonly AddedToken[],
  chat: SampledChat,
  newMessages: readonly Message[],
): Int32Array {
  const last = chat.messages.at(-1);
  if (last?.role !== 'assistant')
    throw new BoundaryError(
      'policy',
      `Expected a conversation that ends with the sampled assistant turn, got ${last?.role ?? 'no message'} last.`,
    );
  const sentinel = chooseSentinel([...chat.messages, ...newMessages]);
  // The sampled text itself is not rendered: templates may strip or rewrite it (for example drop <think>), and only what
  // follows it is needed.
  const neutral = neutraliseMessages(
    [...chat.messages.slice(0, -1), { role: 'assistant', content: sentinel }, ...newMessages],
    parts.addedTokens,
  );
  const added = textAfterTurn(parts.render(neutral.messages, true), sentinel);
  const hasEnded = endTokens.some(({ id }) => id === chat.ids.at(-1));
  const close = new RegExp(`^\\s*(?:${tokenPattern(endTokens).source})`, 'u');
  const remaining = hasEnded ? added.replace(close, '') : added;
  const tail = encodeRendered(parts, remaining, neutral.restore);
  const ids = new Int32Array(chat.ids.length + tail.length);
  ids.set(chat.ids);
  ids.set(tail, chat.ids.length);
  return ids;
}

/** The special token that the template writes right after an assistant's turn; absent without a template. */
function findEndOfTurn(parts: Parts): AddedToken | undefined {
  const sentinel = chooseSentinel([]);
  const special = parts.addedTokens.filter((token) => token.special);
  try {
    const rendered = parts.render(
      [
        { role: 'user', content: 'question' },
        { role: 'assistant', content: sentinel },
        { role: 'user', content: 'question' },
      ],
      false,
    );
    const after = textAfterTurn(rendered, sentinel).trimStart();
    return special.find(({ content }) => after.startsWith(content));
  } catch (error) {
    // A folder without a usable template still encodes text; rendering will say what is wrong.
    if (error instanceof BoundaryError) return undefined;
    throw error;
  }
}

function findEndTokens(parts: Parts, sources: TokenizerSources): AddedToken[] {
  const eosToken = contentOf(sources.config.eos_token);
  const endOfTurn = findEndOfTurn(parts);
  return parts.addedTokens.filter(
    ({ id, content }) =>
      content === eosToken || id === endOfTurn?.id || sources.generationEosIds.includes(id),
  );
}

function decode(parts: Parts, ids: Iterable<number>, skipSpecial: boolean): string {
  const known = [...ids].filter((id) => parts.library.id_to_token(id) !== undefined);
  if (known.length === 0) return '';
  return parts.library.decode(known, {
    skip_special_tokens: skipSpecial,
    clean_up_tokenization_spaces: false,
  });
}

function countIds(library: LibraryTokenizer): number {
  let highest = -1;
  for (const id of library.get_vocab().values()) highest = Math.max(highest, id);
  return highest + 1;
}

function templateVariables({ config }: TokenizerSources): Record<string, string> {
  const names = ['bos_token', 'eos_token', 'pad_token', 'unk_token'] as const;
  return Object.fromEntries(
    names.flatMap((name) => {
      const content = contentOf(config[name]);
      return content === undefined ? [] : [[name, content]];
    }),
  );
}

/**
 * Loads the tokenizer and chat template of a checkpoint folder in the Hugging Face layout.
 *
 * @throws BoundaryError("config") when tokenizer.json is missing, or a file is malformed
 */
export async function loadTokenizer(
  directory: string,
  options: LoadTokenizerOptions = {},
): Promise<Tokenizer> {
  const sources = await readTokenizerFiles(directory);
  const variables = { ...templateVariables(sources), ...options.templateVariables };
  const parts: Parts = {
    library: createLibrary(sources, directory, sources.tokenizer.added_tokens),
    plainLibrary: createLibrary(sources, directory, []),
    addedTokens: sources.tokenizer.added_tokens.map(({ id, content, special }) => ({
      id,
      content,
      special: special ?? false,
    })),
    render: compileChatTemplate(sources.chatTemplate, variables, directory),
  };
  const endTokens = findEndTokens(parts, sources);
  return {
    vocabSize: countIds(parts.library),
    eosTokenIds: endTokens.map(({ id }) => id),
    takesTools: /\btools\b/.test(sources.chatTemplate ?? ''),
    encode: (text) => encode(parts, text),
    encodePlain: (text) => encodePlain(parts, text),
    decode: (ids, { skipSpecial = false } = {}) => decode(parts, ids, skipSpecial),
    renderChat: (messages, chatOptions) => renderChat(parts, messages, chatOptions),
    encodeChat: (messages, chatOptions) => encodeChat(parts, messages, chatOptions),
    extendChat: (chat, newMessages) => extendChat(parts, endTokens, chat, newMessages),
  };
}
