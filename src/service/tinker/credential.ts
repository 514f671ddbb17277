import { z } from 'zod';
import { BoundaryError } from '../../errors.ts';

/** What a client shows at every request. */
export type Credential = {
  /** Names and values of headers; none where the server asks for none. */
  readonly headers: (signal: AbortSignal) => Promise<Readonly<Record<string, string>>>;
  /** After a refusal: has the next request fetch another token. False where there is none to be had. */
  readonly renew: () => boolean;
};

/** A key, or the token that was had for it. */
export type KeyCredential = Credential & {
  /** From here on the key is exchanged for tokens that last a while. */
  readonly exchangeKey: () => void;
};

const tokenReply = z.object({ jwt: z.string() });
const claims = z.object({ exp: z.number() });

/** A token that ends within so many milliseconds is replaced before it is used. */
const marginMs = 60_000;

/** @param key a key of the server, or a token of its own making; absent = none is shown */
export function createCredential(url: string, key: string | undefined): KeyCredential {
  let isExchanged = false;
  let current: Promise<string> | undefined;
  let endsAt = 0;
  const fetchToken = async (signal: AbortSignal): Promise<string> => {
    const response = await fetch(`${url}/api/v1/auth/token`, {
      method: 'POST',
      body: '{}',
      signal,
      headers: { 'content-type': 'application/json', 'x-api-key': key ?? '' },
    });
    if (response.status === 401 || response.status === 403) throw refused(url);
    if (!response.ok) throw new Error(`status ${response.status} from auth/token`);
    const { jwt } = tokenReply.parse(await response.json());
    endsAt = endOf(jwt);
    return jwt;
  };
  return {
    exchangeKey: () => {
      isExchanged = key !== undefined;
    },
    renew: () => {
      current = undefined;
      return isExchanged;
    },
    headers: async (signal) => {
      if (key === undefined) return {};
      if (!isExchanged) return { 'x-api-key': key };
      if (current !== undefined && endsAt - Date.now() < marginMs) current = undefined;
      // One for all requests that wait; a failure is forgotten, so that the next one tries again.
      current ??= fetchToken(signal).then(
        (jwt) => jwt,
        (error: unknown) => {
          current = undefined;
          throw error;
        },
      );
      return { 'x-api-key': await current };
    },
  };
}

/** When a token ends, as it says itself, in milliseconds since 1970; always where it does not say. */
function endOf(jwt: string): number {
  const [, payload = ''] = jwt.split('.');
  try {
    const json: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    return claims.parse(json).exp * 1000;
  } catch {
    // Not readable: used until the server refuses it.
    return Number.POSITIVE_INFINITY;
  }
}

function refused(url: string): BoundaryError {
  return new BoundaryError(
    'engine',
    `the server at ${url} refuses the key; set TINKER_API_KEY to one that it knows`,
  );
}
