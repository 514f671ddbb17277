import {
  AISDKError,
  APICallError,
  EmptyResponseBodyError,
  InvalidResponseDataError,
  JSONParseError,
  LoadAPIKeyError,
  LoadSettingError,
  NoSuchModelError,
  TypeValidationError,
} from 'ai';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/**
 * What a failed call means.
 * `permanent`: no later call can succeed, the run must stop; `transient`: worth another try; `refused`: the provider will
 * not speak about this one action; `too-long`: this one question is more than the model takes; `no-structure`: the endpoint takes no structured output, ask in plain text;
 * `foreign`: not an error of the call at all.
 */
export type CallErrorKind =
  | 'permanent'
  | 'transient'
  | 'refused'
  | 'too-long'
  | 'no-structure'
  | 'foreign';

/** A reply that is not of the protocol: a proxy's page, a body cut short. */
const GARBLED = [
  EmptyResponseBodyError,
  InvalidResponseDataError,
  JSONParseError,
  TypeValidationError,
];

export function callErrorKind(error: unknown): CallErrorKind {
  if (LoadAPIKeyError.isInstance(error) || LoadSettingError.isInstance(error)) return 'permanent';
  if (NoSuchModelError.isInstance(error)) return 'permanent';
  if (GARBLED.some((kind) => kind.isInstance(error)) || isConnectionLost(error)) return 'transient';
  if (APICallError.isInstance(error)) return kindOfRefusal(error);
  // What else the SDK refuses (a setting the model does not have) or a login that does not work is the same next time.
  return AISDKError.isInstance(error) || isLoginFailure(error) ? 'permanent' : 'foreign';
}

/** As OpenAI, vLLM, Anthropic, Google and llama.cpp say it. */
const TOO_LONG =
  /context[_ ](length|window|size)|maximum context|(prompt|input|request) is too long|input token count.*exceeds|request_too_large/i;

function kindOfRefusal(error: APICallError): CallErrorKind {
  const said = `${error.message} ${error.responseBody ?? ''}`;
  // Providers answer 429 for an empty account too, and no waiting fills it.
  if (/insufficient_quota/i.test(said)) return 'permanent';
  if ((error.statusCode === 400 || error.statusCode === 413) && TOO_LONG.test(said)) {
    return 'too-long';
  }
  if (error.statusCode === 400) {
    if (/response_format|json_schema|structured/i.test(said)) return 'no-structure';
    if (/content[_ ](filter|management|policy)|safety/i.test(said)) return 'refused';
  }
  // No status, or a reply that is not of the protocol: the network or something in between, not the coach's own no.
  const isRefusal = (error.statusCode ?? 0) >= 400;
  return error.isRetryable || !isRefusal ? 'transient' : 'permanent';
}

/** Fetch says so with a TypeError; the code of the socket stands below it. */
function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'TypeError' && /terminated|fetch failed/.test(error.message)) return true;
  const { code } = error as { readonly code?: unknown };
  return (
    typeof code === 'string' && /^(ECONN|ENOTFOUND|EAI_AGAIN|EPIPE|ETIMEDOUT|UND_ERR)/.test(code)
  );
}

function isLoginFailure(error: unknown): boolean {
  return error instanceof Error && /credential|authenticat|invalid_grant/i.test(error.message);
}

/** Whether the provider said that it has been asked too often, so that waiting helps. */
export function isRateLimited(error: unknown): boolean {
  return APICallError.isInstance(error) && error.statusCode === 429;
}

/** Whether the provider itself said no, so that nothing was generated and nothing is paid. */
export function isUnpaid(error: unknown): boolean {
  return APICallError.isInstance(error) && (error.statusCode ?? 0) >= 400;
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
