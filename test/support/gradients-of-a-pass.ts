/**
 * Prints what a tiny decoder scores a few rows with, and the gradients of all its weights and an adapter's, as JSON.
 * Arguments: its sizes as JSON; `composed` for libtorch's operators, as where the kernels cannot run.
 */
import { gradOf } from '../../src/engine/autograd.ts';
import { trainDecoder } from '../../src/engine/decoder.ts';
import { adapterParameters } from '../../src/engine/lora.ts';
import { tokenLogprobs } from '../../src/engine/token-logprobs.ts';
import { tinyAdapter, tinyDecoder, tinyTokens } from './tiny-decoder.ts';

// A vocabulary and a number of tokens that fill no whole vectors or blocks.
const vocabSize = 90;
const [sizes = '{}', path] = process.argv.slice(2);
const decoder = tinyDecoder({ vocabSize, layers: 1, ...JSON.parse(sizes) });
const adapter = tinyAdapter(decoder, { seed: 1 });
const parameters = new Map([...trainDecoder(decoder), ...adapterParameters(adapter)]);
const rows = [9, 40, 40, 1].map((length, seed) => {
  const tokens = tinyTokens(length + 1, seed, vocabSize);
  return { input: tokens.slice(0, -1), target: tokens.slice(1), adapter };
});
const scorer = path === 'composed' ? { ...decoder, hasKernels: false } : decoder;
const scored = tokenLogprobs(scorer, rows, { entropy: 'gradient' });
const numbers: Record<string, readonly number[]> = {
  logprobs: [...scored.logprobs.toFloat32Array()],
  entropies: [...(scored.entropies?.toFloat32Array() ?? [])],
};
const slopes = (scale: number) =>
  Float32Array.from({ length: 90 }, (_, at) => scale * Math.cos(at));
scored.backward({ logprobs: slopes(1), entropies: slopes(0.3) });
for (const [name, tensor] of parameters) {
  numbers[name] = [...(gradOf(tensor)?.toFloat32Array() ?? [])];
}
process.stdout.write(JSON.stringify(numbers));
