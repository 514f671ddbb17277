import { z } from 'zod';
import { BoundaryError } from '../../errors.ts';
import type { SampleParams, Sampler, Sequence } from '../../types/training-service.ts';
import { checkTokens, type DataLimits } from '../local/check-data.ts';
import type { Decode } from '../local/stop-strings.ts';
import { checkPrompt, checkSampled, cutAtStop, stopOf } from '../tinker/check-sample.ts';
import type { Call, Connection } from '../tinker/connection.ts';
import { readReply } from '../tinker/replies.ts';
import { jsonBody } from '../tinker/session.ts';
import type { Stopwatch } from '../tinker/stopwatch.ts';

/** What samplers of one vLLM server share. */
export type VllmRoom = {
  readonly connection: Connection;
  readonly limits: DataLimits;
  /** Absent = stop strings are refused. */
  readonly decode: Decode | undefined;
  readonly sampling: Stopwatch;
};

const choice = z.object({
  token_ids: z.array(z.number()),
  logprobs: z.object({ token_logprobs: z.array(z.number().nullable()) }).nullish(),
  finish_reason: z.enum(['stop', 'length']),
  /** Per token of the prompt: null, or token id → its log-probability. */
  prompt_logprobs: z
    .array(z.record(z.string(), z.object({ logprob: z.number() })).nullable())
    .nullish(),
});
const completion = z.object({ choices: z.tuple([choice]) });
type Choice = z.output<typeof choice>;

/**
 * A sampler of a model, or of an adapter, that a vLLM server has under a name.
 *
 * @param check throws when the server no longer has it
 */
export function createVllmSampler(
  room: VllmRoom,
  identity: { readonly policyId: string | undefined; readonly version: number },
  source: { readonly model: string; readonly check: () => void },
): Sampler {
  const what = `a sample of ${source.model}`;
  const ask = async (
    body: object,
    { signal, clock }: Parameters<Sampler['sample']>[2] = {},
  ): Promise<Choice> => {
    source.check();
    const common = { model: source.model, n: 1, stream: false, return_token_ids: true };
    const call: Call = {
      ...{ method: 'POST', path: '/completions', what, body: jsonBody({ ...common, ...body }) },
      ...(signal && { signal }),
    };
    const reply = await room.connection.timed(clock, (work) =>
      room.sampling.during(() => room.connection.call({ ...call, work })),
    );
    return readReply(reply, completion, what).choices[0];
  };
  const sample: Sampler['sample'] = async (prompt, params, options) => {
    checkPrompt(prompt, params, room.limits);
    const isEnd = stopOf(params, room.decode);
    const sampled = await ask({ prompt: [...prompt], ...wireParams(params) }, options);
    const sequence = sequenceOf(sampled, what);
    room.sampling.count(sequence.tokens.length);
    return { ...cutAtStop(sequence, isEnd), version: identity.version };
  };
  const logprobs: Sampler['logprobs'] = async (tokens) => {
    if (tokens.length === 0) {
      throw new BoundaryError('engine', 'Expected at least one token to score');
    }
    checkTokens(tokens, 'the sequence', room.limits);
    if (tokens.length === 1) return Float32Array.of(Number.NaN);
    const asked = { max_tokens: 1, temperature: 0, prompt_logprobs: 0 };
    const { prompt_logprobs } = await ask({ prompt: [...tokens], ...asked });
    return scoresOf(tokens, prompt_logprobs ?? [], what);
  };
  return { ...identity, sample, logprobs };
}

/** Only what the caller names ends a sequence, not what the model's own files say. */
function wireParams({ maxTokens, temperature, seed, stopTokens }: SampleParams) {
  const stop = stopTokens.length === 0 ? {} : { stop_token_ids: stopTokens };
  const common = { max_tokens: maxTokens, temperature, seed, logprobs: 1, ignore_eos: true };
  return { ...common, top_p: 1, top_k: -1, ...stop };
}

function sequenceOf(
  { token_ids, logprobs, finish_reason }: Choice,
  what: string,
): Omit<Sequence, 'version'> {
  const values = logprobs?.token_logprobs;
  return checkSampled(
    {
      tokens: Int32Array.from(token_ids),
      logprobs: values ? Float32Array.from(values, (each) => each ?? Number.NaN) : undefined,
      stop: finish_reason,
    },
    what,
  );
}

function scoresOf(
  tokens: Int32Array,
  scores: NonNullable<Choice['prompt_logprobs']>,
  what: string,
): Float32Array {
  const logprobs = Float32Array.from(tokens, (token, at) =>
    at === 0 ? Number.NaN : (scores[at]?.[token]?.logprob ?? Number.NaN),
  );
  if (logprobs.subarray(1).every(Number.isFinite)) return logprobs;
  throw new BoundaryError(
    'engine',
    `the server returned no log-probability for some of the ${tokens.length} tokens of a prompt with ${what}`,
  );
}
