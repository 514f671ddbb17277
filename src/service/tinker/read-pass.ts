import { BoundaryError } from '../../errors.ts';
import type { Reply } from './connection.ts';
import { decodePass, type SentDatum } from './protobuf.ts';
import { passReply, readReply } from './replies.ts';

/**
 * The log-probabilities that a pass returned, a row per datum that was sent.
 *
 * @throws BoundaryError("engine") when they are not those of the data: of other lengths, not finite, or all 0
 */
export function readPass(
  reply: Reply,
  data: readonly SentDatum[],
  what: string,
): readonly Float32Array[] {
  const rows =
    reply.bytes === undefined
      ? readReply(reply, passReply, what).loss_fn_outputs.map(({ logprobs }) =>
          Float32Array.from(logprobs.data),
        )
      : decodePass(reply.bytes);
  if (rows.length !== data.length) {
    throw wrong(what, `${rows.length} results for ${data.length} datums`);
  }
  rows.forEach((row, index) => {
    const { length } = data[index]?.tokens ?? [];
    if (row.length !== length) {
      throw wrong(
        what,
        `${row.length} log-probabilities for the ${length} tokens of datum ${index}`,
      );
    }
    const position = row.findIndex((each) => !Number.isFinite(each));
    if (position >= 0) {
      throw wrong(
        what,
        `a log-probability of ${row[position]} at position ${position} of datum ${index}`,
      );
    }
    if (length > 2 && row.every((each) => each === 0)) {
      throw wrong(what, `nothing but zeros as log-probabilities of datum ${index}`);
    }
  });
  return rows;
}

function wrong(what: string, found: string): BoundaryError {
  return new BoundaryError('engine', `the server returned ${found} with ${what}`);
}
