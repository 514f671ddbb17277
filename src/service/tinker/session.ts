import { BoundaryError } from '../../errors.ts';
import type { Connection } from './connection.ts';
import { readReply, sessionReply } from './replies.ts';

/** What a server keeps for one client, as long as the client is heard from. */
export type Session = {
  readonly id: string;
  /** @throws BoundaryError("engine") once the server has forgotten the session */
  readonly check: () => void;
  readonly close: () => void;
};

/** The body of a call in JSON. */
export function jsonBody(value: unknown) {
  const bytes = JSON.stringify(value);
  return () => ({ bytes, type: 'application/json' });
}

const sdkVersion = '0.25.0';

/** Opens a session and keeps it alive; the timer holds no process up. */
export async function openSession(
  connection: Connection,
  note: (text: string) => void,
): Promise<Session> {
  const what = 'create_session';
  const body = jsonBody({ tags: ['teamtune'], user_metadata: null, sdk_version: sdkVersion });
  const reply = await connection.call({ method: 'POST', path: '/create_session', what, body });
  const opened = readReply(reply, sessionReply, what);
  if (opened.error_message) {
    throw new BoundaryError(
      'engine',
      `the server at ${connection.url} opens no session: ${opened.error_message}`,
    );
  }
  if (opened.warning_message) note(`the server says: ${opened.warning_message}`);
  const id = opened.session_id;
  let isLost = false;
  const beat = async () => {
    const heartbeat = { path: '/session_heartbeat', body: jsonBody({ session_id: id }) };
    const answer = await connection.attempt(
      { method: 'POST', what: 'session_heartbeat', ...heartbeat },
      connection.patience.heartbeatMs,
    );
    // Any other failure shows in the calls that need an answer.
    isLost ||= 'status' in answer && answer.status === 404;
  };
  // A refused key shows in those calls, too.
  const timer = setInterval(() => beat().catch(() => undefined), connection.patience.heartbeatMs);
  timer.unref();
  const check = () => {
    if (!isLost) return;
    throw new BoundaryError(
      'engine',
      `the server at ${connection.url} has forgotten session ${id}, with the weights in it`,
      { retryable: true },
    );
  };
  return { id, check, close: () => clearInterval(timer) };
}

export function sdkVersionBody() {
  return jsonBody({ sdk_version: sdkVersion });
}
