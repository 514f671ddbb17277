import { basename } from 'node:path';

/** Where something outside this project's own logic broke. */
export type Boundary =
  | 'config'
  | 'task'
  | 'policy'
  | 'tool'
  | 'coach'
  | 'credit'
  | 'engine'
  | 'checkpoint'
  | 'run';

/** A failure at a named boundary; the message says what was expected, what came, where, and what to do. */
export class BoundaryError extends Error {
  override readonly name = 'BoundaryError';
  readonly boundary: Boundary;
  readonly retryable: boolean;

  constructor(
    boundary: Boundary,
    message: string,
    options: { readonly cause?: unknown; readonly retryable?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.boundary = boundary;
    this.retryable = options.retryable ?? false;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Closes everything in order, also after one that fails: what stands behind it must not stay open.
 *
 * @throws the first failure, once all have been asked
 */
export async function closeAll(closers: readonly (() => Promise<void> | void)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closers) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

const ownSources = new URL('.', import.meta.url).href;

/** The message, and in which line of the user's code it was thrown, where the stack says so: `boom (team.config.ts:19)`. */
export function messageWithPlace(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  // Of what cannot be parsed the stack begins with the place, without a column.
  const places = stack.matchAll(/^(?: +at .*?)?(file:\/\/\S+?):(\d+)(?::\d+)?\)?$/gm);
  for (const [, file = '', line] of places) {
    if (file.startsWith(ownSources) || file.includes('/node_modules/')) continue;
    return `${messageOf(error)} (${basename(file)}:${line})`;
  }
  return messageOf(error);
}
