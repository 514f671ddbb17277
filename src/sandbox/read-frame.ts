import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Execution } from '../types/sandbox.ts';
import { statusOfExit, stoppedOutput } from './describe-end.ts';
import type { SandboxLimits } from './limits.ts';

const headerSchema = z.strictObject({
  stopped: z.enum(['timeout', 'memory', 'output-limit', 'file-limit']).nullable(),
  code: z.int(),
  raised: z.enum(['memory', 'denied']).nullable(),
  unnamed: z.int().nonnegative(),
  seconds: z.number().nonnegative(),
  output: z.string(),
  files: z.array(z.tuple([z.string(), z.int().nonnegative()])),
  removed: z.array(z.string()),
});

type Header = z.infer<typeof headerSchema>;

/** Whether a path stays below the folder it is relative to. */
export function isInside(path: string): boolean {
  const parts = path.split('/');
  return (
    parts.length <= 9 &&
    path.length <= 1024 &&
    !path.includes('\0') &&
    parts.every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= 255)
  );
}

function readHeader(frame: Buffer): { readonly header: Header; readonly end: number } {
  const end = 4 + frame.readUInt32BE(0);
  if (end > frame.length) throw new Error(`it ends after ${frame.length} of ${end} bytes`);
  return { header: headerSchema.parse(JSON.parse(frame.toString('utf8', 4, end))), end };
}

function cutFiles(frame: Buffer, { header, end }: ReturnType<typeof readHeader>) {
  const written = new Map<string, Uint8Array>();
  let start = end;
  for (const [path, bytes] of header.files) {
    if (!isInside(path)) throw new Error(`${JSON.stringify(path)} leads out of the folder`);
    written.set(path, frame.subarray(start, start + bytes));
    start += bytes;
  }
  if (start !== frame.length) throw new Error(`files of ${start} bytes in ${frame.length}`);
  return written;
}

/**
 * Reads what the runner reports (python-runner.ts).
 *
 * @throws BoundaryError("tool") when it is cut short, malformed, or names a file outside the working folder
 */
export function readFrame(frame: Buffer, limits: SandboxLimits): Execution {
  try {
    const read = readHeader(frame);
    const { stopped, code, raised, unnamed, output: printed, seconds, removed } = read.header;
    const changes = { written: cutFiles(frame, read), removed: removed.filter(isInside) };
    const output = printed.slice(0, limits.outputLimit);
    const status = stopped ?? statusOfExit(code, raised);
    const limit = status === 'memory' ? 'memory' : stopped;
    const shown = limit === null ? output + lastWords(code) : stoppedOutput(limit, output, limits);
    return { status, output: shown + notKept(unnamed), durationMs: seconds * 1000, changes };
  } catch (cause) {
    const message = `What the sandbox reported could not be read: ${messageOf(cause)}`;
    throw new BoundaryError('tool', message, { cause });
  }
}

function notKept(unnamed: number): string {
  if (unnamed === 0) return '';
  return `Not kept: ${unnamed} ${unnamed === 1 ? 'file' : 'files'} whose name cannot be printed.\n`;
}

/** A program that a signal ended says nothing itself. */
function lastWords(code: number): string {
  return code < 0 ? `The program was ended by signal ${-code}.\n` : '';
}
