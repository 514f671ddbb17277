/**
 * Keeps what people, tools and other agents write from becoming control tokens.
 *
 * A conversation is rendered with every control token inside message contents broken: its first character is replaced by
 * a stand-in that occurs nowhere else. What looks like a control token in the rendered text was therefore written by the
 * template. Afterwards the text is cut at those, the stand-ins are turned back, and the stretches between are encoded
 * without any control token. Contents without such text are encoded exactly as if nothing had been done.
 */
import type { Message } from '../types/message.ts';

export type AddedToken = {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
};

/** Turns stand-ins back into the characters they stand for. */
export type Restore = (text: string) => string;

export type NeutralisedMessages = {
  readonly messages: readonly Message[];
  readonly restore: Restore;
  /** Whether any content held control-token text. */
  readonly isChanged: boolean;
};

function* privateUseCharacters(): Generator<string> {
  for (let code = 0xe000; code <= 0xf8ff; code++) yield String.fromCodePoint(code);
  for (let code = 0xf0000; code <= 0x10fffd; code++) yield String.fromCodePoint(code);
}

/** One stand-in for each first character of a token, absent from all texts. */
function chooseStandIns(tokens: readonly AddedToken[], texts: readonly string[]) {
  const candidates = privateUseCharacters();
  const standIns = new Map<string, string>();
  for (const { content } of tokens) {
    const [first] = content;
    if (first === undefined || standIns.has(first)) continue;
    for (const candidate of candidates) {
      if (texts.some((text) => text.includes(candidate))) continue;
      standIns.set(first, candidate);
      break;
    }
  }
  return standIns;
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** A pattern that matches any of the tokens, longest first; never matches when there are none. */
export function tokenPattern(tokens: readonly AddedToken[]): RegExp {
  if (tokens.length === 0) return /(?!)/gu;
  const longestFirst = [...tokens].sort((a, b) => b.content.length - a.content.length);
  return new RegExp(longestFirst.map(({ content }) => escapeRegex(content)).join('|'), 'gu');
}

/**
 * System and assistant turns may hold markers such as `<think>` or `<tool_call>` (added, but not special, tokens): the
 * team's author and the model itself write them. In user and tool turns those are broken too.
 */
function forbiddenIn(role: Message['role'], tokens: readonly AddedToken[]): readonly AddedToken[] {
  return role === 'user' || role === 'tool' ? tokens : tokens.filter(({ special }) => special);
}

function breakTokens(
  text: string,
  tokens: readonly AddedToken[],
  standIns: ReadonlyMap<string, string>,
): string {
  if (tokens.length === 0) return text;
  // A look-ahead finds tokens that overlap one another, too.
  const starts = new RegExp(`(?=${tokenPattern(tokens).source})[^]`, 'gu');
  return text.replace(starts, (first) => standIns.get(first) ?? first);
}

/** Breaks the control tokens in all contents. */
export function neutraliseMessages(
  messages: readonly Message[],
  tokens: readonly AddedToken[],
): NeutralisedMessages {
  const texts = messages.map(({ content }) => content);
  const standIns = chooseStandIns(tokens, texts);
  const broken = messages.map((message) => ({
    ...message,
    content: breakTokens(message.content, forbiddenIn(message.role, tokens), standIns),
  }));
  const isChanged = broken.some(({ content }, index) => content !== texts[index]);
  const originals = new Map([...standIns].map(([first, standIn]) => [standIn, first]));
  const restore: Restore = (text) =>
    isChanged
      ? Array.from(text, (character) => originals.get(character) ?? character).join('')
      : text;
  return { messages: broken, restore, isChanged };
}
