/** Prints what the tiny decoder says greedily to a few prompts, with an adapter and without, as JSON. */
import { createGenerator } from '../../src/engine/generator.ts';
import { tinyAdapter, tinyDecoder, tinyTokens } from './tiny-decoder.ts';

const decoder = tinyDecoder();
const adapter = tinyAdapter(decoder, { seed: 1 });
const generator = createGenerator(decoder);
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
