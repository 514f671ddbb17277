import { BoundaryError } from '../../errors.ts';

/** Text of token ids, as the model's tokenizer has it. */
export type Decode = (tokens: Iterable<number>) => string;

/**
 * A rule that ends a sequence once one of the texts stands in it.
 *
 * @param decode of a byte-level tokenizer: the text of a sequence is that of its tokens, one after another
 * @returns a function to be asked after every token
 * @throws BoundaryError("engine") without a tokenizer, and for an empty text
 */
export function stopRule(
  stopStrings: readonly string[],
  decode: Decode | undefined,
): (tokens: readonly number[]) => boolean {
  if (decode === undefined) {
    throw new BoundaryError(
      'engine',
      'stopStrings needs the text of tokens; create the service with `decode`, or use stopTokens',
    );
  }
  if (stopStrings.includes('')) {
    throw new BoundaryError(
      'engine',
      'a stop string is empty: it would end every sequence at once',
    );
  }
  const bytes = Math.max(...stopStrings.map((text) => new TextEncoder().encode(text).length));
  // A token has at least one byte, so a match that the newest token completes lies in as many of the last tokens.
  return (tokens) => {
    const tail = decode(tokens.slice(-bytes));
    return stopStrings.some((text) => tail.includes(text));
  };
}
