import { setTimeout as sleep } from 'node:timers/promises';
import { BoundaryError } from '../../errors.ts';
import {
  type Call,
  type Connection,
  describeLast,
  type Interruption,
  isPassing,
  type Reply,
  refuseOutage,
  signalOf,
  waitAfter,
} from './connection.ts';
import type { TimedWork } from './outage.ts';
import { refusal, unfinishedReply } from './replies.ts';

/** An operation that a server has accepted. */
export type Accepted = {
  readonly requestId: string;
  /** As messages call it. */
  readonly what: string;
  readonly accept?: string;
  /** Submits the same again, where the server has lost its promise; resolves to the new id. */
  readonly resubmit?: () => Promise<string>;
  readonly signal?: AbortSignal;
  readonly work?: TimedWork;
};

/** How often a promise may be lost, or a refusal come without any reason, before it counts as one. */
const mostLosses = 3;

/**
 * Waits for what an accepted operation comes to, asking again as long as the server has no answer.
 *
 * @throws BoundaryError("engine") when the operation failed, the server forgot it or stays away, or the deadline passed
 */
export async function awaitResult(connection: Connection, accepted: Accepted): Promise<Reply> {
  const { patience } = connection;
  const deadline = performance.now() + patience.resultMs;
  let { requestId } = accepted;
  let [failures, losses] = [0, 0];
  let awayFrom = Number.POSITIVE_INFINITY;
  for (;;) {
    const reply = await ask(connection, requestId, accepted);
    const state = stateOf(reply);
    if (state === 'done') return reply as Reply;
    awayFrom =
      state === 'interrupted' ? Math.min(awayFrom, performance.now()) : Number.POSITIVE_INFINITY;
    refuseDelay(connection, accepted, { last: reply, deadline, awayFrom });
    if (state === 'lost') {
      requestId = await again(accepted, requestId, { reply: reply as Reply, losses: ++losses });
    }
    if (state === 'failed') throw failureOf(reply as Reply, accepted.what);
    failures = state === 'pending' ? 0 : failures + 1;
    // A question that the server held open is asked again at once.
    const isHeld = state === 'pending' && !('json' in reply);
    if (!isHeld) await sleep(waitAfter(failures, patience), undefined, signalOf(accepted));
  }
}

/** The id to ask for from here on: of the same request, submitted again where the server has lost its promise. */
async function again(
  { resubmit, what }: Accepted,
  requestId: string,
  { reply, losses }: { readonly reply: Reply; readonly losses: number },
): Promise<string> {
  if (losses > mostLosses) throw refusal(reply, what);
  if (reply.status !== 410) return requestId;
  if (resubmit === undefined) throw refusal(reply, what);
  return resubmit();
}

function ask(
  connection: Connection,
  requestId: string,
  { what, accept, signal, work }: Accepted,
): Promise<Reply | Interruption> {
  const bytes = JSON.stringify({ request_id: requestId });
  const call: Call = {
    method: 'POST',
    path: '/retrieve_future',
    what,
    body: () => ({ bytes, type: 'application/json' }),
    isHeld: true,
    ...(accept !== undefined && { accept }),
    ...signalOf(signal ? { signal } : {}),
    ...(work && { work }),
  };
  return connection.attempt(call, connection.patience.pollMs);
}

type State = 'done' | 'failed' | 'pending' | 'interrupted' | 'lost';

function stateOf(reply: Reply | Interruption): State {
  if ('interrupted' in reply) return reply.isTimeout ? 'pending' : 'interrupted';
  const { status, json, detail } = reply;
  if (status === 408) return 'pending';
  if (status === 410) return 'lost';
  if (isPassing(status)) return 'interrupted';
  if (status >= 400) return status === 400 && detail === '' ? 'lost' : 'failed';
  const unfinished = unfinishedReply.safeParse(json);
  if (!unfinished.success) return 'done';
  return 'error' in unfinished.data ? 'failed' : 'pending';
}

function failureOf(reply: Reply, what: string): BoundaryError {
  const { data } = unfinishedReply.safeParse(reply.json);
  const said = data !== undefined && 'error' in data ? data : undefined;
  if (said === undefined) return refusal(reply, what);
  return refusal({ ...reply, detail: `${said.category ?? 'unknown'}: ${said.error}` }, what);
}

/** @throws BoundaryError("engine") where the result is too late, or the server has been away for too long */
function refuseDelay(
  connection: Connection,
  accepted: Accepted,
  at: {
    readonly last: Reply | Interruption;
    readonly deadline: number;
    readonly awayFrom: number;
  },
): void {
  const now = performance.now();
  refuseOutage(connection, accepted, { last: at.last, forMs: now - at.awayFrom });
  if (now <= at.deadline) return;
  const { url, patience } = connection;
  throw new BoundaryError(
    'engine',
    `${accepted.what} did not end within ${Math.round(patience.resultMs / 1000)} s on the server at ${url} (last: ${describeLast(at.last)})`,
    { retryable: true },
  );
}
