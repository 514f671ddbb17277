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
    const rows = scores.map((row) => [null, ...row.subarray(1)]);
    if (!request.json) console.log(JSON.stringify(rows));
    return rows;
  },
};
