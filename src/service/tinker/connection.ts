import { setTimeout as sleep } from 'node:timers/promises';
import { BoundaryError, messageOf } from '../../errors.ts';
import type { Credential } from './credential.ts';
import { createOutage, type Outage, type TimedWork } from './outage.ts';
import type { Patience } from './patience.ts';

/** One request; its body is encoded anew for every try, so that no try holds it in memory while it waits. */
export type Call = {
  readonly method: 'GET' | 'POST';
  /** Below the server's prefix. */
  readonly path: string;
  /** What is asked for, in messages: `optim_step of policy "solver"`. */
  readonly what: string;
  /** Must give the same bytes each time. */
  readonly body?: () => Body | Promise<Body>;
  readonly accept?: string;
  /** Headers of its own. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** The server may hold the question open until there is an answer. */
  readonly isHeld?: boolean;
  /** What it is part of, where somebody counts the time of that. */
  readonly work?: TimedWork;
};

export type Body = {
  readonly bytes: string | Uint8Array<ArrayBuffer>;
  readonly type: string;
  /** How the bytes are compressed; absent = they are not. */
  readonly encoding?: 'zstd';
};

/** An answer that is final: a success, or a refusal that trying again would not change. */
export type Reply = {
  readonly status: number;
  /** Of a success in JSON. */
  readonly json?: unknown;
  /** Of a success in any other form, as it came. */
  readonly bytes?: Uint8Array;
  /** What the server says of a refusal, in one short line; empty where it says nothing. */
  readonly detail: string;
  /** Where a redirect leads. */
  readonly location?: string;
};

/** A way to a server: everything that fails in passing is tried again, within a deadline. */
export type Connection = {
  readonly url: string;
  readonly patience: Patience;
  readonly call: (call: Call) => Promise<Reply>;
  /** One try; a failure of the network is a value. */
  readonly attempt: (call: Call, timeoutMs: number) => Promise<Reply | Interruption>;
  /**
   * For a process that is about to end: nothing that is under way or asked for later settles any more, so that nobody takes
   * what is let go of for a loss. @returns the one way that is left
   */
  readonly freeze: () => Connection['attempt'];
  readonly timed: Outage['timed'];
};

/** What became of a try without a whole answer. */
export type Interruption = { readonly interrupted: string; readonly isTimeout: boolean };

/** Statuses after which the same request may be tried again. */
const passing = new Set([402, 408, 425, 429]);

export function isPassing(status: number): boolean {
  return passing.has(status) || status >= 500;
}

/**
 * @param place the server, and what all its paths begin with
 * @param note told when the server gives no answer for long, and when it does again
 */
export function openConnection(
  { url, prefix }: { readonly url: string; readonly prefix: string },
  credential: Credential,
  patience: Patience,
  note: (text: string) => void,
): Connection {
  const outage = createOutage(url, { afterMs: patience.noticeMs, note });
  const tryOnce: Connection['attempt'] = async (call, timeoutMs) => {
    call.signal?.throwIfAborted();
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = call.signal ? AbortSignal.any([call.signal, deadline]) : deadline;
    try {
      return await send(`${url}${prefix}`, call, {
        shown: await credential.headers(signal),
        signal,
      });
    } catch (error) {
      call.signal?.throwIfAborted();
      if (error instanceof BoundaryError) throw error;
      return { interrupted: describeFailure(error), isTimeout: deadline.aborted };
    }
  };
  let isFrozen = false;
  const attempt: Connection['attempt'] = async (call, timeoutMs) => {
    try {
      if (isFrozen) return await never;
      const outcome = await tryOnce(call, timeoutMs);
      outage.tried(outcome, call);
      return outcome;
    } finally {
      if (isFrozen) await never;
    }
  };
  const freeze: Connection['freeze'] = () => {
    isFrozen = true;
    return tryOnce;
  };
  const call: Connection['call'] = async (request) => {
    const started = performance.now();
    for (let tries = 0; ; tries++) {
      const reply = await attempt(request, patience.requestMs);
      const mayRenew = tries === 0 && statusOf(reply) === 401 && credential.renew();
      if ('status' in reply && !isPassing(reply.status) && !mayRenew) return reply;
      const waited = performance.now() - started;
      refuseOutage({ url, patience }, request, { last: reply, forMs: waited });
      await sleep(waitAfter(tries, patience), undefined, signalOf(request));
    }
  };
  return { url, patience, call, attempt, freeze, timed: outage.timed };
}

const never = new Promise<never>(() => undefined);

function statusOf(reply: Reply | Interruption): number | undefined {
  return 'status' in reply ? reply.status : undefined;
}

/** Milliseconds before the next try. */
export function waitAfter(tries: number, { firstWaitMs, longestWaitMs }: Patience): number {
  return Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(tries, 20));
}

export function signalOf({ signal }: { readonly signal?: AbortSignal }): {
  readonly signal?: AbortSignal;
} {
  return signal === undefined ? {} : { signal };
}

async function send(
  root: string,
  { method, path, body, accept, headers }: Call,
  {
    shown,
    signal,
  }: { readonly shown: Readonly<Record<string, string>>; readonly signal: AbortSignal },
): Promise<Reply> {
  const encoded = await body?.();
  const response = await fetch(`${root}${path}`, {
    method,
    signal,
    // A redirect may lead to another host, which must not see the key.
    redirect: 'manual',
    headers: {
      accept: accept ?? 'application/json',
      ...(encoded && { 'content-type': encoded.type }),
      ...(encoded?.encoding && { 'content-encoding': encoded.encoding }),
      ...headers,
      ...shown,
    },
    ...(encoded && { body: encoded.bytes }),
  });
  return readReply(response);
}

/** @throws Error where a success is no whole reply of this protocol: a proxy's page, or one that was cut short */
async function readReply(response: Response): Promise<Reply> {
  const { status, headers } = response;
  const location = headers.get('location');
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (!response.ok) {
    return { status, detail: detailOf(bytes), ...(location !== null && { location }) };
  }
  const type = headers.get('content-type') ?? '';
  if (type.startsWith('text/html')) throw new Error(`a reply of type ${type}`);
  if (!type.includes('json')) return { status, bytes, detail: '' };
  return { status, json: JSON.parse(new TextDecoder().decode(bytes)), detail: '' };
}

/** `fetch` keeps what happened in the cause. */
function describeFailure(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause === undefined ? messageOf(error) : `${messageOf(error)}: ${messageOf(cause)}`;
}

/** @throws BoundaryError("engine") where something has failed in passing for longer than the patience lasts */
export function refuseOutage(
  { url, patience }: Pick<Connection, 'url' | 'patience'>,
  { what }: Pick<Call, 'what'>,
  { last, forMs }: { readonly last: Reply | Interruption; readonly forMs: number },
): void {
  if (forMs <= (statusOf(last) === 402 ? patience.billingMs : patience.outageMs)) return;
  throw new BoundaryError(
    'engine',
    `the server at ${url} gave no answer to ${what} for ${Math.round(forMs / 1000)} s (last: ${describeLast(last)}); check that it runs there`,
    { retryable: true },
  );
}

export function describeLast(last: Reply | Interruption): string {
  return 'status' in last ? `status ${last.status} ${last.detail}` : last.interrupted;
}

/** In one short line: some servers repeat the whole request in a refusal. */
function detailOf(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, 100_000));
  return (readDetail(text) ?? text).replaceAll(/\s+/g, ' ').trim().slice(0, 300);
}

/** Undefined where the text is no JSON, empty where that says nothing. */
function readDetail(text: string): string | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null) return '';
  const { detail, error } = json as { readonly detail?: unknown; readonly error?: unknown };
  if (typeof detail === 'string') return detail;
  if (!Array.isArray(detail)) return textOf(error);
  return detail
    .map(({ loc, msg }: { readonly loc?: unknown; readonly msg?: unknown }) =>
      [Array.isArray(loc) ? loc.join('.') : '', String(msg)].join(': '),
    )
    .join('; ');
}

/** Servers of the OpenAI dialect wrap the message of an error. */
function textOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('message' in error)) {
    return typeof error === 'string' ? error : '';
  }
  return typeof error.message === 'string' ? error.message : '';
}
