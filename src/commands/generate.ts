import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BoundaryError, messageOf } from '../errors.ts';
import { seedFor } from '../random.ts';
import type { SampleFilters } from '../types/training-service.ts';
import { type Command, integer, optional, type Request, required } from './command.ts';
import { modelOptions, withSampler } from './open-sampler.ts';
import { readTokens } from './read-tokens.ts';

export const generateCommand: Command = {
  summary: 'Continue sequences of token ids and print the continuations’ ids, as JSON.',
  operands: [],
  options: {
    ...modelOptions,
    'max-tokens': { type: 'string', help: 'most ids to add' },
    greedy: { type: 'boolean', help: 'always take the most probable token' },
    temperature: { type: 'string', help: 'sampling temperature, default 1' },
    'top-k': { type: 'string', help: 'draw among this many most probable tokens' },
    'top-p': { type: 'string', help: 'draw among the fewest tokens of this share together' },
    'min-p': { type: 'string', help: 'draw among tokens of this share of the most probable one’s' },
    seed: { type: 'string', help: 'seed of the samples, default 0' },
  },
  run: async (request) => {
    const prompts = await readTokens(required(request, 'tokens'));
    const seed = integer(request, 'seed', 0) ?? 0;
    const params = {
      maxTokens: integer(request, 'max-tokens', 1) ?? 64,
      temperature: temperatureOf(request),
      ...filtersOf(request),
      stopTokens: await stopTokensOf(required(request, 'model')),
    };
    const sequences = await withSampler(request, (sampler) =>
      Promise.all(
        prompts.map((prompt, row) =>
          sampler.sample(prompt, { ...params, seed: seedFor(seed, row) }),
        ),
      ),
    );
    const rows = sequences.map(({ tokens }) => [...tokens]);
    if (!request.json) console.log(JSON.stringify(rows));
    return rows;
  },
};

function temperatureOf(request: Request): number {
  if (request.values.greedy === true) return 0;
  const text = optional(request, 'temperature') ?? '1';
  const temperature = Number(text);
  if (temperature >= 0) return temperature;
  throw new BoundaryError('config', `--temperature: expected a number of at least 0, got ${text}`);
}

function filtersOf(request: Request): SampleFilters {
  const topK = integer(request, 'top-k', 1);
  const topP = share(request, 'top-p', (value) => value > 0);
  const minP = share(request, 'min-p', (value) => value >= 0);
  return {
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    ...(minP !== undefined && { minP }),
  };
}

function share(
  request: Request,
  option: string,
  isLargeEnough: (value: number) => boolean,
): number | undefined {
  const text = optional(request, option);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text !== '' && isLargeEnough(value) && value <= 1) return value;
  const least = isLargeEnough(0) ? 'from 0' : 'above 0 and';
  throw new BoundaryError('config', `--${option}: expected a number ${least} up to 1, got ${text}`);
}

/** As `generate` of transformers: the ids that `generation_config.json`, or else `config.json`, names as end. */
async function stopTokensOf(directory: string): Promise<number[]> {
  for (const name of ['generation_config.json', 'config.json']) {
    const end = await endOfSequence(join(directory, name));
    if (end !== undefined) return end;
  }
  return [];
}

function endNamedIn(json: string, file: string): unknown {
  try {
    return JSON.parse(json)?.eos_token_id;
  } catch (cause) {
    throw new BoundaryError('config', `${file} is no JSON: ${messageOf(cause)}`, { cause });
  }
}

async function endOfSequence(file: string): Promise<number[] | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new BoundaryError('config', `${file} cannot be read`, { cause: error });
  }
  const end = endNamedIn(text, file);
  if (typeof end === 'number') return [end];
  return Array.isArray(end) ? end.filter((id) => typeof id === 'number') : undefined;
}
