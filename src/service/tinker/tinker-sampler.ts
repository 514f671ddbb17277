import { BoundaryError } from '../../errors.ts';
import type { SampleParams, Sampler, Sequence } from '../../types/training-service.ts';
import { checkTokens } from '../local/check-data.ts';
import { stopRule } from '../local/stop-strings.ts';
import { awaitResult } from './await-result.ts';
import type { Reply } from './connection.ts';
import { protobufType } from './encode-data.ts';
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
type Sampled = {
  readonly tokens: Int32Array;
  readonly logprobs: Float32Array | undefined;
  readonly stop: 'stop' | 'length';
  readonly promptLogprobs: Float32Array | undefined;
};

export function createTinkerSampler(
  room: ServerRoom,
  identity: { readonly policyId: string | undefined; readonly version: number },
  source: SamplerSource,
): Sampler {
  const what = `a sample of ${identity.policyId === undefined ? 'the base' : `policy "${identity.policyId}"`}`;
  let requests = 0;
  const ask = async (body: Readonly<Record<string, unknown>>, signal?: AbortSignal) => {
    source.acquire();
    try {
      const number = ++requests;
      const place = { sampling_session_id: source.sessionId, seq_id: number, num_samples: 1 };
      const request = { room, what, body: { ...place, ...body } };
      return await room.sampling.during(() =>
        requestSample(signal === undefined ? request : { ...request, signal }),
      );
    } finally {
      source.release();
    }
  };
  const sample: Sampler['sample'] = async (prompt, params, { signal } = {}) => {
    checkPrompt(prompt, params, room);
    const { stopStrings = [], stopTokens, maxTokens: max_tokens, temperature, seed } = params;
    const isEnd = stopStrings.length === 0 ? undefined : stopRule(stopStrings, room.decode);
    const sampling_params = {
      ...{ max_tokens, temperature, seed, top_k: -1, top_p: 1 },
      ...(stopTokens.length > 0 && { stop: stopTokens }),
    };
    const sampled = await ask({ prompt: modelInput(prompt), sampling_params }, signal);
    const sequence = sequenceOf(sampled, what);
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

/** Refuses what a server would sample, but of which it would record other numbers than those that training needs. */
function checkPrompt(prompt: Int32Array, params: SampleParams, { limits }: ServerRoom): void {
  const refuse = (what: string): never => {
    throw new BoundaryError('engine', `cannot generate: ${what}`);
  };
  const { maxTokens, temperature, topK, topP, minP } = params;
  if (prompt.length === 0) refuse('the prompt is empty; expected at least one token');
  checkTokens(prompt, 'the prompt', limits);
  if (!(maxTokens >= 1)) refuse(`maxTokens is ${maxTokens}; expected at least 1`);
  if (prompt.length + maxTokens > limits.maxPositions) {
    refuse(
      `${prompt.length} tokens of prompt and ${maxTokens} more do not fit the model's ${limits.maxPositions} positions`,
    );
  }
  if (temperature !== 0 && temperature !== 1) {
    refuse(
      `the temperature is ${temperature}; servers of this protocol record the log-probabilities of the unscaled distribution alone, so only 1 (or 0, greedy) can be trained on and measured`,
    );
  }
  if ([topK, topP, minP].some((filter) => filter !== undefined)) {
    refuse(
      'topK, topP and minP are set; servers of this protocol do not record what a filtered distribution sampled with',
    );
  }
}

async function requestSample({
  room: { connection, profile, session },
  what,
  body,
  signal,
}: {
  readonly room: ServerRoom;
  readonly what: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly signal?: AbortSignal;
}): Promise<Sampled> {
  session.check();
  const call = { method: 'POST', path: '/asample', what, body: jsonBody(body) } as const;
  const common = signal === undefined ? {} : { signal };
  const submit = async () =>
    readReply(await connection.call({ ...call, ...common }), acceptedReply, what).request_id;
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

/** @throws BoundaryError("engine") for log-probabilities that cannot be what was sampled with */
function sequenceOf({ tokens, logprobs, stop }: Sampled, what: string): Omit<Sequence, 'version'> {
  const problem =
    logprobs === undefined
      ? 'without log-probabilities'
      : logprobs.length !== tokens.length
        ? `of ${tokens.length} tokens with ${logprobs.length} log-probabilities`
        : !logprobs.every(Number.isFinite)
          ? 'with log-probabilities that are not finite'
          : tokens.length > 2 && logprobs.every((each) => each === 0)
            ? 'whose log-probabilities are all 0, which some servers send where they have none'
            : undefined;
  if (problem === undefined && logprobs !== undefined) return { tokens, logprobs, stop };
  throw new BoundaryError(
    'engine',
    `the server returned ${what} ${problem}; it cannot be trained on`,
  );
}

/** Ends a sequence with the token that completes a stop string, as the engine of this process does. */
function cutAtStop(
  sequence: Omit<Sequence, 'version'>,
  isEnd: ((tokens: readonly number[]) => boolean) | undefined,
): Omit<Sequence, 'version'> {
  if (isEnd === undefined) return sequence;
  const seen: number[] = [];
  for (const token of sequence.tokens) {
    seen.push(token);
    if (!isEnd(seen)) continue;
    const { length } = seen;
    const kept = { tokens: sequence.tokens.slice(0, length) };
    return { ...kept, logprobs: sequence.logprobs.slice(0, length), stop: 'stop' };
  }
  return sequence;
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
