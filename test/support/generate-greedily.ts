/**
 * Prints what a tiny decoder says greedily to a few prompts, with an adapter and without, as JSON.
 * Arguments: what differs from the tiny config, as JSON; `composed` for libtorch's operators, as where the kernels cannot run.
 */
import { createGenerator } from '../../src/engine/generator.ts';
import { tinyAdapter, tinyDecoder, tinyTokens } from './tiny-decoder.ts';

const [changes = '{}', path] = process.argv.slice(2);
const decoder = tinyDecoder(JSON.parse(changes));
const adapter = tinyAdapter(decoder, { seed: 1 });
const generator = createGenerator(
  path === 'composed' ? { ...decoder, hasKernels: false } : decoder,
);
for (const row of [0, 1, 2, 3, 4]) {
  generator.submit({
    ...{ prompt: tinyTokens(7 + 30 * row, row), maxTokens: 20, stopTokens: [] },
    ...{ temperature: 0, seed: row },
    ...(row % 2 === 1 && { adapter }),
  });
}
const rows: { id: number; tokens: number[]; logprobs: number[] }[] = [];
while (generator.pending > 0) {
  for (const { id, tokens, logprobs } of generator.step()) {
    rows.push({ id, tokens: [...tokens], logprobs: [...logprobs] });
  }
}
rows.sort((first, second) => first.id - second.id);
process.stdout.write(JSON.stringify(rows));
