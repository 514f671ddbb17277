import { BoundaryError } from '../errors.ts';
import { type Command, required } from './command.ts';
import { modelOptions, withSampler } from './open-sampler.ts';
import { readTokens } from './read-tokens.ts';

export const logprobsCommand: Command = {
  summary: 'Print the log-probability of every token given those before it, as JSON.',
  operands: [],
  options: modelOptions,
  run: async (request) => {
    const sequences = await readTokens(required(request, 'tokens'));
    const scores = await withSampler(request, (sampler) =>
      Promise.all(sequences.map((ids) => sampler.logprobs(ids))),
    );
    const rows = scores.map((row, index) => [null, ...finite(row.subarray(1), index)]);
    if (!request.json) console.log(JSON.stringify(rows));
    return rows;
  },
};

/** JSON knows no NaN, and would print null as for what has no log-probability. */
function finite(logprobs: Float32Array, sequence: number): Float32Array {
  const broken = logprobs.findIndex((value) => !Number.isFinite(value));
  if (broken < 0) return logprobs;
  throw new BoundaryError(
    'engine',
    `token ${broken + 1} of sequence ${sequence} has log-probability ${logprobs[broken]}; the model's weights are damaged, or its numbers too large for this dtype`,
  );
}
