import { spawn } from 'node:child_process';

/** What a process that was started said. */
export type Ended = {
  readonly output: Buffer;
  readonly complaint: string;
  readonly isOverdue: boolean;
};

/** How to start one. */
export type Start = {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly request: string;
  readonly filter: Uint8Array | undefined;
  readonly deadlineMs: number;
  readonly outputBytes: number;
  readonly signal: AbortSignal | undefined;
};

/** Starts `bwrap` and waits for its end; kills it, and the kernel all it holds, at the deadline or when aborted. */
export function runToEnd(start: Start): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(start.command, start.arguments, {
      env: {},
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    });
    const output: Buffer[] = [];
    let room = start.outputBytes;
    let complaint = '';
    let isOverdue = false;
    const end = () => child.kill('SIGKILL');
    const timer = setTimeout(() => {
      isOverdue = true;
      end();
    }, start.deadlineMs);
    start.signal?.addEventListener('abort', end);
    child.stdout?.on('data', (block: Buffer) => {
      output.push(block);
      room -= block.length;
      if (room < 0) end();
    });
    child.stderr?.on('data', (block: Buffer) => {
      complaint = (complaint + block.toString()).slice(0, 2000);
    });
    child.on('error', (cause) => reject(cause));
    child.on('close', () => {
      clearTimeout(timer);
      start.signal?.removeEventListener('abort', end);
      resolve({ output: Buffer.concat(output), complaint: complaint.trim(), isOverdue });
    });
    // A sandbox that ended early does not read its orders; how it ended is told by `close`.
    const filterPipe = child.stdio[3];
    for (const pipe of [child.stdin, filterPipe]) pipe?.on('error', () => undefined);
    if (filterPipe && 'end' in filterPipe) filterPipe.end(start.filter ?? '');
    child.stdin?.end(start.request);
  });
}
