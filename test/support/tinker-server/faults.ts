import type { ServerResponse } from 'node:http';

/** What a server may do to one request instead of answering it well. */
export const faults = {
  'reset before': { isDone: false, answer: reset },
  'reset after': { isDone: true, answer: reset },
  '500 before': { isDone: false, answer: sends(500, { detail: 'Internal Server Error' }) },
  '503 after': { isDone: true, answer: sends(503, { detail: 'overloaded' }) },
  '429': { isDone: false, answer: sends(429, { detail: 'slow down' }) },
  '408 after': { isDone: true, answer: sends(408, { detail: 'Timeout' }) },
  '425': { isDone: false, answer: sends(425, { detail: 'Checkpoint is still being created' }) },
  'HTML 502': { isDone: false, answer: sendsPage(502) },
  'HTML 200 after': { isDone: true, answer: sendsPage(200) },
  'cut short after': { isDone: true, answer: sendsHalf },
} as const satisfies Readonly<Record<string, FaultyAnswer>>;

type FaultyAnswer = {
  /** Whether the request is done before its answer goes wrong. */
  readonly isDone: boolean;
  readonly answer: (response: ServerResponse) => void;
};

/** Of a question after a result alone. */
export const resultFaults = {
  'try again': sends(200, { type: 'try_again', request_id: '0', queue_state: 'paused_capacity' }),
  'promise lost': sends(410, { detail: 'promise expired' }),
  'held too long': sends(408, { detail: 'Timeout waiting for result' }),
  'no reason': sends(400, {}),
} as const;

export type Fault = keyof typeof faults | keyof typeof resultFaults;

function reset(response: ServerResponse): void {
  response.socket?.destroy();
}

export function sends(status: number, body: unknown) {
  return (response: ServerResponse): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
}

function sendsPage(status: number) {
  return (response: ServerResponse): void => {
    response.writeHead(status, { 'content-type': 'text/html' });
    response.end('<html>a proxy</html>');
  };
}

function sendsHalf(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
  response.write('{"request_id":"', () => response.socket?.destroy());
}
