/**
 * A server for tests that speaks SandboxFusion's `POST /run_code` and really runs the code, inside bubblewrap where the
 * original would run it beside itself. It can be told to fail in the ways in which such servers do.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { createBubblewrapSandbox } from '../../src/sandbox/bubblewrap-sandbox.ts';

/** What the server does instead of its work. */
export type Fault =
  | 'gateway timeout'
  | 'an HTML page'
  | 'half an answer'
  | 'hang'
  | 'another shape'
  | 'an error of its own'
  | 'none of the files'
  | 'a frame cut short';

export type SandboxFusionServer = {
  readonly url: string;
  /** Faults of the next answers, in order; none when empty. */
  readonly faults: Fault[];
  readonly close: () => Promise<void>;
};

const requestSchema = z.object({
  code: z.string(),
  language: z.literal('python'),
  run_timeout: z.number().positive(),
  files: z.record(z.string(), z.string()),
  fetch_files: z.array(z.string()),
});

const finished = { status: 'Success', message: '', compile_result: null } as const;
const emptyResult = {
  status: 'Finished',
  return_code: 0,
  execution_time: 0,
  stdout: '',
  stderr: '',
};

const faulty: Record<Fault, (response: ServerResponse) => void> = {
  'gateway timeout': (response) => response.writeHead(504).end('upstream timed out'),
  'an HTML page': (response) => response.end('<html>It works!</html>'),
  'half an answer': (response) => response.end('{"status": "Succ'),
  hang: () => undefined,
  'another shape': (response) => response.end('{"status": "Fine"}'),
  'an error of its own': (response) =>
    response.end(JSON.stringify({ status: 'SandboxError', message: 'no disk left', files: {} })),
  'none of the files': (response) =>
    response.end(JSON.stringify({ ...finished, run_result: emptyResult, files: {} })),
  'a frame cut short': (response) =>
    response.end(
      JSON.stringify({
        ...{ ...finished, run_result: emptyResult },
        files: { 'teamtune-frame.bin': 'AAAA/w==' },
      }),
    ),
};

/** Starts it on a free port of this machine. */
export async function startSandboxFusion(): Promise<SandboxFusionServer> {
  const sandbox = createBubblewrapSandbox({
    ...{ workers: 4, timeLimitMs: 30_000, memoryBytes: 512 * 2 ** 20 },
    ...{ workspaceBytes: 64 * 2 ** 20, workspaceFiles: 1000, outputLimit: 10_000 },
  });
  const faults: Fault[] = [];

  const runCode = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const asked = requestSchema.parse(JSON.parse(Buffer.concat(chunks).toString()));
    const folder = await mkdtemp(join(tmpdir(), 'teamtune-fusion-'));
    for (const [path, content] of Object.entries(asked.files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), Buffer.from(content, 'base64'));
    }
    const { status, output, changes } = await sandbox.run(asked.code, { folder });
    await rm(folder, { recursive: true });
    const files = asked.fetch_files.flatMap((path) => {
      const content = changes.written.get(path);
      return content === undefined ? [] : [[path, Buffer.from(content).toString('base64')]];
    });
    const isOk = status === 'ok';
    const result = {
      ...{ status: status === 'timeout' ? 'TimeLimitExceeded' : 'Finished', execution_time: 1 },
      ...{ return_code: isOk ? 0 : 1, stdout: isOk ? output : '', stderr: isOk ? '' : output },
    };
    const answer = {
      ...{ status: isOk ? 'Success' : 'Failed', message: '', compile_result: null },
      ...{ run_result: result, executor_pod_name: null, files: Object.fromEntries(files) },
    };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
  };

  const server = createServer((request, response) => {
    const fault = faults.shift();
    if (fault !== undefined) faulty[fault](response);
    else if (request.method === 'POST' && request.url === '/run_code') {
      runCode(request, response).catch((error) => response.writeHead(422).end(String(error)));
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    faults,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await sandbox.close();
    },
  };
}
