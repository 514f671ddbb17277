import { APICallError, LoadAPIKeyError, LoadSettingError, NoSuchModelError } from 'ai';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/**
 * What a failed call means.
 * `permanent`: no later call can succeed, the run must stop; `transient`: worth another try;
 * `no-structure`: the endpoint takes no structured output, ask in plain text; `foreign`: not an error of the call at all.
 */
export type CallErrorKind = 'permanent' | 'transient' | 'no-structure' | 'foreign';

export function callErrorKind(error: unknown): CallErrorKind {
  if (LoadAPIKeyError.isInstance(error) || LoadSettingError.isInstance(error)) return 'permanent';
  if (NoSuchModelError.isInstance(error)) return 'permanent';
  if (!APICallError.isInstance(error)) return 'foreign';
  const said = `${error.message} ${error.responseBody ?? ''}`;
  // Providers answer 429 for an empty account too, and no waiting fills it.
  if (/insufficient_quota/i.test(said)) return 'permanent';
  if (error.statusCode === 400 && /response_format|json_schema|structured/i.test(said)) {
    return 'no-structure';
  }
  // No status, or a reply that is not of the protocol: the network or something in between, not the coach's own no.
  const isRefusal = (error.statusCode ?? 0) >= 400;
  return error.isRetryable || !isRefusal ? 'transient' : 'permanent';
}

/** A sentence about a failed call that is safe to print: status and the provider's words, cut short. */
export function describeCallError(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).slice(0, 300);
  const status = APICallError.isInstance(error) ? error.statusCode : undefined;
  return status === undefined ? message : `HTTP ${status}: ${message}`;
}

/**
 * How long to wait before the next try: what the server asks for (`Retry-After`), else doubling with jitter.
 *
 * @param attempt tries so far, from 1
 * @param jitter uniform in [0, 1)
 * @returns milliseconds
 */
export function waitBeforeRetry(error: unknown, attempt: number, jitter: number): number {
  const asked = APICallError.isInstance(error) ? askedWait(error.responseHeaders ?? {}) : undefined;
  if (asked !== undefined) return asked;
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
  return longest * (0.5 + jitter / 2);
}

function askedWait(headers: Readonly<Record<string, string>>): number | undefined {
  const milliseconds = Number(headers['retry-after-ms'] ?? Number.NaN);
  if (milliseconds >= 0) return milliseconds;
  const after = headers['retry-after'];
  if (after === undefined) return undefined;
  const seconds = Number(after);
  if (seconds >= 0) return seconds * 1000;
  const date = Date.parse(after);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
