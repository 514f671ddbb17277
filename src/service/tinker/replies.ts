import { z } from 'zod';
import { BoundaryError } from '../../errors.ts';
import type { Reply } from './connection.ts';

export const acceptedReply = z.object({ request_id: z.coerce.string() });
export const capabilitiesReply = z.object({
  supported_models: z.array(z.object({ model_name: z.string() })),
});
export const configurationReply = z.object({
  pjwt_auth_enabled: z.boolean().default(false),
  /** Whether passes in protobuf may come compressed. */
  proto_compress_fwdbwd: z.boolean().default(false),
});
export const sessionReply = z.object({
  session_id: z.string(),
  error_message: z.string().nullish(),
  warning_message: z.string().nullish(),
});
export const modelReply = z.object({ model_id: z.string(), request_id: z.coerce.string() });
export const createdModelReply = z.object({
  lora_config: z.object({ rank: z.number(), alpha: z.number().nullish() }).nullish(),
});
export const samplingSessionReply = z.object({ sampling_session_id: z.string() });
export const savedReply = z.object({ path: z.string() });
export const stepReply = z.object({ metrics: z.record(z.string(), z.number()).nullish() });
const numbers = z.object({ data: z.array(z.number()) });
export const passReply = z.object({
  loss_fn_outputs: z.array(z.object({ logprobs: numbers })),
});
export const sampleReply = z.object({
  sequences: z.array(
    z.object({
      tokens: z.array(z.number()),
      logprobs: z.array(z.number()).nullish(),
      stop_reason: z.enum(['stop', 'length']),
    }),
  ),
  prompt_logprobs: z.array(z.number().nullable()).nullish(),
});

/** Answers to a question after a result that are none yet, or say that it failed. */
export const unfinishedReply = z.union([
  z.object({ type: z.literal('try_again'), queue_state: z.string().optional() }),
  z.object({ error: z.string(), category: z.string().optional() }),
]);

/**
 * A success as the server's protocol has it.
 *
 * @throws BoundaryError("engine") with what the server said, or with what is missing in what it sent
 */
export function readReply<Schema extends z.ZodType>(
  reply: Reply,
  schema: Schema,
  what: string,
): z.output<Schema> {
  if (reply.status >= 400) throw refusal(reply, what);
  const parsed = schema.safeParse(reply.json);
  if (parsed.success) return parsed.data;
  throw new BoundaryError(
    'engine',
    `the server answered ${what} in another form than the Tinker protocol's: ${z.prettifyError(parsed.error).replaceAll(/\s+/g, ' ')}`,
  );
}

/**
 * What a server is asked first: where its address leads elsewhere, that is said instead of what the reply lacks.
 *
 * @throws BoundaryError("engine") as `readReply`, or with the key to look at
 */
export function readGreeting<Schema extends z.ZodType>(
  reply: Reply,
  schema: Schema,
  asked: { readonly what: string; readonly server: string; readonly advice: string },
): z.output<Schema> {
  if (reply.status !== 404) return readReply(reply, schema, asked.what);
  throw new BoundaryError(
    'engine',
    `expected ${asked.server}, and what answers there does not know ${asked.what} (status 404); check ${asked.advice}`,
  );
}

/** A refusal by the server, as an error; one of a server that has forgotten what it had may be mended by a resume. */
export function refusal({ status, detail }: Reply, what: string): BoundaryError {
  const isForgotten = status === 404 || /not loaded|stale|session/i.test(detail);
  const cause = isForgotten ? '; it has forgotten what it had, as after a restart' : '';
  return new BoundaryError(
    'engine',
    `the server refused ${what} with status ${status}: ${detail || 'it gives no reason'}${cause}`,
    { retryable: isForgotten },
  );
}
