import { BoundaryError } from '../../errors.ts';
import type { Sampler } from '../../types/training-service.ts';
import { checkTokens } from '../local/check-data.ts';
import { awaitResult } from './await-result.ts';
import {
  checkPrompt,
  checkSampled,
  cutAtStop,
  type SampledTokens,
  stopOf,
} from './check-sample.ts';
import type { Reply } from './connection.ts';
import { protobufType } from './encode-data.ts';
import type { TimedWork } from './outage.ts';
import { decodeSample } from './protobuf.ts';
import { acceptedReply, readReply, sampleReply } from './replies.ts';
import type { ServerRoom } from './server-room.ts';
import { jsonBody } from './session.ts';

/** Where a sampler's weights stand on the server. */
export type SamplerSource = {
  readonly sessionId: string;
  /** @throws BoundaryError("engine") when the server no longer has these weights */
  readonly acquire: () => void;
  readonly release: () => void;
};

/** What one `asample` came to. */
type Sampled = SampledTokens & { readonly promptLogprobs: Float32Array | undefined };

export function createTinkerSampler(
  room: ServerRoom,
  identity: { readonly policyId: string | undefined; readonly version: number },
  source: SamplerSource,
): Sampler {
  const what = `a sample of ${identity.policyId === undefined ? 'the base' : `policy "${identity.policyId}"`}`;
  let requests = 0;
  const ask = async (
    body: Readonly<Record<string, unknown>>,
    { signal, clock }: Parameters<Sampler['sample']>[2] = {},
  ) => {
    source.acquire();
    try {
      const number = ++requests;
      const place = { sampling_session_id: source.sessionId, seq_id: number, num_samples: 1 };
      const request = { room, what, body: { ...place, ...body }, ...(signal && { signal }) };
      return await room.connection.timed(clock, (work) =>
        room.gates.samples.during(0, () =>
          room.sampling.during(() => requestSample({ ...request, work })),
        ),
      );
    } finally {
      source.release();
    }
  };
  const sample: Sampler['sample'] = async (prompt, params, options) => {
    checkPrompt(prompt, params, room.limits);
    const { stopTokens, maxTokens: max_tokens, temperature, seed } = params;
    const isEnd = stopOf(params, room.decode);
    const sampling_params = {
      ...{ max_tokens, temperature, seed, top_k: -1, top_p: 1 },
      ...(stopTokens.length > 0 && { stop: stopTokens }),
    };
    const sampled = await ask({ prompt: modelInput(prompt), sampling_params }, options);
    const sequence = checkSampled(sampled, what);
    room.sampling.count(sequence.tokens.length);
    return { ...cutAtStop(sequence, isEnd), version: identity.version };
  };
  const logprobs: Sampler['logprobs'] = async (tokens) => {
    if (tokens.length === 0)
      throw new BoundaryError('engine', 'Expected at least one token to score');
    checkTokens(tokens, 'the sequence', room.limits);
    if (tokens.length === 1) return Float32Array.of(Number.NaN);
    const sampling_params = { max_tokens: 1, temperature: 1, seed: 0 };
    const asked = { prompt: modelInput(tokens), sampling_params, prompt_logprobs: true };
    return promptLogprobsOf(await ask(asked), tokens.length, what);
  };
  return { ...identity, sample, logprobs };
}

function modelInput(tokens: Int32Array) {
  return { chunks: [{ type: 'encoded_text', tokens: [...tokens] }] };
}

/** Asks for a 429 where too many samples wait, and not to be left waiting. */
const headers = { 'x-tinker-sampling-backpressure': '1' };

async function requestSample({
  room: { connection, profile, session, gates },
  what,
  body,
  work,
  signal,
}: {
  readonly room: ServerRoom;
  readonly what: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly work: TimedWork;
  readonly signal?: AbortSignal;
}): Promise<Sampled> {
  session.check();
  const encoded = jsonBody(body);
  const call = { method: 'POST', path: '/asample', what, body: encoded, headers } as const;
  const common = { work, ...(signal && { signal }) };
  const submit = async () => {
    const send = () => connection.call({ ...call, ...common });
    const reply = await gates.submissions.during(encoded().bytes.length, send);
    return readReply(reply, acceptedReply, what).request_id;
  };
  const reply = await awaitResult(connection, {
    requestId: await submit(),
    what,
    resubmit: submit,
    ...(profile.dialect === 'protobuf' && { accept: protobufType }),
    ...common,
  });
  return readSample(reply, what);
}

function readSample(reply: Reply, what: string): Sampled {
  if (reply.bytes !== undefined) {
    const { sequences, promptLogprobs } = decodeSample(reply.bytes);
    const { tokens, logprobs, stop } = oneOf(sequences, what);
    return { tokens, logprobs, stop, promptLogprobs };
  }
  const { sequences, prompt_logprobs } = readReply(reply, sampleReply, what);
  const { tokens, logprobs, stop_reason } = oneOf(sequences, what);
  return {
    tokens: Int32Array.from(tokens),
    logprobs: logprobs ? Float32Array.from(logprobs) : undefined,
    stop: stop_reason,
    promptLogprobs: prompt_logprobs
      ? Float32Array.from(prompt_logprobs, (each) => each ?? Number.NaN)
      : undefined,
  };
}

function oneOf<Item>(items: readonly Item[], what: string): Item {
  const [first] = items;
  if (first !== undefined) return first;
  throw new BoundaryError('engine', `the server returned no sequence for ${what}`);
}

/** One entry per token, the first NaN; some servers leave out the first, which has nothing before it. */
function promptLogprobsOf({ promptLogprobs }: Sampled, length: number, what: string): Float32Array {
  const found = promptLogprobs?.length ?? 0;
  if (found !== length && found !== length - 1) {
    throw new BoundaryError(
      'engine',
      `the server returned ${found} log-probabilities of a prompt of ${length} tokens with ${what}`,
    );
  }
  const logprobs = new Float32Array(length);
  logprobs.set(promptLogprobs ?? [], length - found);
  logprobs[0] = Number.NaN;
  if (logprobs.subarray(1).every(Number.isFinite)) return logprobs;
  throw new BoundaryError(
    'engine',
    `the server returned log-probabilities of a prompt that are not finite with ${what}`,
  );
}
