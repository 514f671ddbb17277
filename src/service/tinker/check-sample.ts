import { BoundaryError } from '../../errors.ts';
import type { SampleParams, Sequence } from '../../types/training-service.ts';
import { checkTokens, type DataLimits } from '../local/check-data.ts';
import { type Decode, stopRule } from '../local/stop-strings.ts';

/** What a server says that it sampled. */
export type SampledTokens = {
  readonly tokens: Int32Array;
  readonly logprobs: Float32Array | undefined;
  readonly stop: 'stop' | 'length';
};

type StopRule = (tokens: readonly number[]) => boolean;

/** Refuses what a server would sample, but of which it would record other numbers than those that training needs. */
export function checkPrompt(prompt: Int32Array, params: SampleParams, limits: DataLimits): void {
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
      `the temperature is ${temperature}; servers record the log-probabilities of the unscaled distribution alone, so only 1 (or 0, greedy) can be trained on and measured`,
    );
  }
  if ([topK, topP, minP].some((filter) => filter !== undefined)) {
    refuse(
      'topK, topP and minP are set; servers do not record what a filtered distribution sampled with',
    );
  }
}

/** How the stop strings end a sequence; undefined where there are none. */
export function stopOf(
  { stopStrings = [] }: SampleParams,
  decode: Decode | undefined,
): StopRule | undefined {
  return stopStrings.length === 0 ? undefined : stopRule(stopStrings, decode);
}

/** @throws BoundaryError("engine") for log-probabilities that cannot be what was sampled with */
export function checkSampled(
  { tokens, logprobs, stop }: SampledTokens,
  what: string,
): Omit<Sequence, 'version'> {
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
export function cutAtStop(
  sequence: Omit<Sequence, 'version'>,
  isEnd: StopRule | undefined,
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
