/**
 * A client of a running SandboxFusion (`POST /run_code`). Isolation is the server's: its default configuration has none,
 * and its programs inherit its environment; run it in a container of its own, without keys, or choose bubblewrap.
 *
 * The stock server returns only files whose exact paths are asked for, so each program is sent inside our runner
 * (python-runner.ts), which limits it, finds out what it changed, and leaves one file with all of it to ask for.
 */
import PQueue from 'p-queue';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Execution, ExecutionOptions, Sandbox } from '../types/sandbox.ts';
import { stoppedOutput } from './describe-end.ts';
import { readFolder } from './files-below.ts';
import { checkLimits, defaultLimits, type SandboxLimits } from './limits.ts';
import { pythonRunner } from './python-runner.ts';
import { readFrame } from './read-frame.ts';

export type SandboxFusionOptions = Partial<SandboxLimits> & {
  /** Where the server listens, for example `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Programs at once; default 1. */
  readonly workers?: number;
  /** How long an answer may take beyond the program's own time; default 30 000. */
  readonly graceMs?: number;
};

const frameFile = 'teamtune-frame.bin';
const workFolder = 'work';

/** The server's working folder holds the workspace, the program and the frame side by side. */
const wrap = (request: object) => `${pythonRunner}
import base64, shutil
request = json.loads(base64.b64decode('${Buffer.from(JSON.stringify(request)).toString('base64')}'))
here = os.getcwd()
os.makedirs('${workFolder}', exist_ok=True)
request['workspace'] = os.path.join(here, '${workFolder}')
request['programFile'] = os.path.join(here, 'teamtune-program.py')
request['environment'] = {
    'PATH': os.environ.get('PATH', '/usr/bin:/bin'), 'HOME': here, 'LANG': 'C.UTF-8',
    'PYTHONPATH': request['workspace'], 'PYTHONHASHSEED': '0', 'PYTHONDONTWRITEBYTECODE': '1',
}
frame = run(request)
shutil.rmtree(request['workspace'], ignore_errors=True)
with open('${frameFile}', 'wb') as file:
    file.write(frame)
`;

const responseSchema = z.object({
  status: z.enum(['Success', 'Failed', 'SandboxError']),
  message: z.string().default(''),
  run_result: z
    .object({
      status: z.enum(['Finished', 'Error', 'TimeLimitExceeded']),
      return_code: z.int().nullish(),
      stderr: z.string().nullish(),
    })
    .nullish(),
  files: z.record(z.string(), z.string()).default({}),
});

type Answer = z.infer<typeof responseSchema>;

const noChanges = { written: new Map<string, Uint8Array>(), removed: [] } as const;

function ended(status: Execution['status'], output: string): Execution {
  return { status, output, durationMs: 0, changes: noChanges };
}

const infrastructure = (reason: string) =>
  ended('infrastructure', `The SandboxFusion server failed: ${reason}\n`);

function judge(answer: Answer, limits: SandboxLimits): Execution {
  const result = answer.run_result;
  if (result?.status === 'TimeLimitExceeded')
    return ended('timeout', stoppedOutput('timeout', '', limits));
  const frame = answer.files[frameFile];
  if (answer.status === 'SandboxError' || result?.status !== 'Finished')
    return infrastructure(answer.message || 'it reports an error of its own');
  const code = result.return_code ?? 0;
  if (frame === undefined) {
    // A runner that was killed was killed by the program; one that raised could not do its work there.
    const isKilled = code !== 0 && !result.stderr?.includes('Traceback');
    return isKilled
      ? ended('error', 'The program ended the process that it ran under.\n')
      : infrastructure(`it returned no ${frameFile}; ${(result.stderr ?? '').slice(-500)}`);
  }
  return readFrame(Buffer.from(frame, 'base64'), limits);
}

/** The body as text; one that is larger than anything we asked for is not read to its end. */
async function readBody(response: Response, mostBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    parts.push(part);
    bytes += part.length;
    if (bytes > mostBytes) throw new Error(`its answer is longer than ${mostBytes} bytes`);
  }
  return Buffer.concat(parts).toString();
}

async function post(
  url: URL,
  body: string,
  { signal, mostBytes }: { readonly signal: AbortSignal; readonly mostBytes: number },
): Promise<Answer> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body, signal });
  const text = await readBody(response, mostBytes);
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${text.slice(0, 200)}`);
  return responseSchema.parse(JSON.parse(text));
}

async function bodyFor(
  program: string,
  folder: string | undefined,
  limits: SandboxLimits,
): Promise<string> {
  const files = folder === undefined ? new Map<string, Uint8Array>() : await readFolder(folder);
  const seconds = limits.timeLimitMs / 1000;
  const request = {
    ...limits,
    ...{ program, isAlone: false, hidden: [], user: 0, input: '' },
    timeLimitSeconds: seconds,
    outputBytes: limits.outputLimit * 4,
  };
  const uploads = [...files].map(([path, content]) => [
    `${workFolder}/${path}`,
    Buffer.from(content).toString('base64'),
  ]);
  return JSON.stringify({
    compile_timeout: seconds,
    // The runner stops the program; the server's limit is for a runner that was stopped itself.
    run_timeout: seconds + 10,
    code: wrap(request),
    stdin: null,
    language: 'python',
    files: Object.fromEntries(uploads),
    fetch_files: [frameFile],
  });
}

/**
 * A sandbox behind a SandboxFusion server. Whatever the server does wrong (an HTTP error, no JSON, no answer in time)
 * ends as `infrastructure`.
 *
 * @throws BoundaryError("config") when a limit is not a positive integer
 */
export function createSandboxFusionSandbox(options: SandboxFusionOptions): Sandbox {
  const { url, workers = 1, graceMs = 30_000, ...changed } = options;
  const limits = checkLimits({ ...defaultLimits, ...changed });
  const address = new URL('/run_code', url);
  const queue = new PQueue({ concurrency: workers });
  const closed = new AbortController();
  // Base64 takes four characters for three bytes; a path and its share of the header take less than 2 KiB.
  const mostBytes =
    limits.workspaceBytes * 1.4 + limits.outputLimit * 24 + limits.workspaceFiles * 2048;

  const execute = async (program: string, given: ExecutionOptions): Promise<Execution> => {
    const refuseEnded = () => {
      given.signal?.throwIfAborted();
      if (closed.signal.aborted) throw new BoundaryError('tool', 'The sandbox has been closed.');
    };
    refuseEnded();
    const deadlineMs = limits.timeLimitMs + graceMs;
    const deadline = AbortSignal.timeout(deadlineMs);
    const signal = AbortSignal.any([
      deadline,
      closed.signal,
      ...(given.signal ? [given.signal] : []),
    ]);
    try {
      const body = await bodyFor(program, given.folder, limits);
      return judge(await post(address, body, { signal, mostBytes }), limits);
    } catch (error) {
      refuseEnded();
      if (deadline.aborted) return infrastructure(`no answer within ${deadlineMs} ms`);
      const cause = error instanceof Error && error.cause ? `: ${messageOf(error.cause)}` : '';
      return infrastructure(`${messageOf(error)}${cause}`);
    }
  };

  return {
    name: 'sandboxfusion',
    check: async () => {
      const execution = await execute('print(40 + 2)', {});
      if (execution.status === 'ok' && execution.output === '42\n') return;
      throw new BoundaryError(
        'config',
        `rollout.sandbox is sandboxfusion, but a program that prints 42 ended at ${url} as ${execution.status} (${execution.output.trim()}): start a SandboxFusion server there, name another url, or set rollout.sandbox to "pyodide"`,
      );
    },
    run: (program, given = {}) => queue.add(() => execute(program, given)),
    close: async () => closed.abort(),
  };
}
