import { BoundaryError } from '../../errors.ts';
import { type Accepted, awaitResult } from './await-result.ts';
import type { Call, Reply } from './connection.ts';
import { acceptedReply, readReply } from './replies.ts';
import type { ServerRoom } from './server-room.ts';

/** Names tried for one thing. */
const mostNames = 3;

type CallOf = (sequence: number) => Omit<Call, 'method'>;

/** A training request that the server has. */
export type Sent = { readonly result: () => Promise<Reply> };

/**
 * The training requests of one model, numbered from 1 without a gap. A request that is tried again keeps its number
 * and its bytes, so a server that has it already does not do it twice.
 */
export class SequencedRequests {
  readonly #room: ServerRoom;
  #last = 0;
  #lost: string | undefined;

  constructor(room: ServerRoom) {
    this.#room = room;
  }

  /** @throws BoundaryError("engine") when it is no longer known what the server has done */
  check(who: string): void {
    this.#room.session.check();
    if (this.#lost === undefined) return;
    throw new BoundaryError('engine', `${who} cannot go on: ${this.#lost}`, { retryable: true });
  }

  /** Says that what the model holds on the server is unknown from here on. */
  lose(error: unknown): void {
    this.#lost ??= error instanceof Error ? error.message : String(error);
  }

  /**
   * @param callOf the request under a number
   * @returns once the server has the request
   */
  send(callOf: CallOf): Promise<Sent> {
    return this.#send(callOf, (reply, what) => {
      // A number that is taken means that client and server disagree on what was done.
      if (reply.status === 409) this.lose(`${what}: status 409 ${reply.detail}`);
      return readReply(reply, acceptedReply, what).request_id;
    });
  }

  /**
   * A request that gives something a name. Where a first try was taken and its answer lost, some servers refuse the
   * second because the name is taken: it is sent under another.
   *
   * @param callOf the request with a name of its own each time
   */
  async sendNamed(callOf: CallOf): Promise<Sent> {
    for (let tries = 1; ; tries++) {
      let isTaken = false;
      try {
        return await this.#send(callOf, (reply, what) => {
          isTaken = reply.status === 409;
          return readReply(reply, acceptedReply, what).request_id;
        });
      } catch (error) {
        if (!isTaken || tries === mostNames) throw error;
      }
    }
  }

  async #send(callOf: CallOf, read: (reply: Reply, what: string) => string): Promise<Sent> {
    const sequence = this.#last + 1;
    const call: Call = { method: 'POST', ...callOf(sequence) };
    const submit = async () => read(await this.#room.connection.call(call), call.what);
    const requestId = await this.#submitted(submit);
    this.#last = sequence;
    const accepted: Accepted = { requestId, what: call.what, resubmit: submit };
    const accept = call.accept === undefined ? {} : { accept: call.accept };
    return { result: () => awaitResult(this.#room.connection, { ...accepted, ...accept }) };
  }

  async #submitted(submit: () => Promise<string>): Promise<string> {
    try {
      return await submit();
    } catch (error) {
      if (error instanceof BoundaryError && error.retryable) this.lose(error);
      throw error;
    }
  }
}
