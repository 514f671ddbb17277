import type { Decoder } from './decoder.ts';
import type { GeneratorOptions, SequenceGenerator } from './generation.ts';
import { PaddedGenerator } from './padded-generator.ts';
import { RowGenerator } from './row-generator.ts';

/** The fastest generator that can run the decoder. Caller disposes. */
export function createGenerator(
  decoder: Decoder,
  options: GeneratorOptions = {},
): SequenceGenerator {
  return decoder.hasKernels
    ? new RowGenerator(decoder, options)
    : new PaddedGenerator(decoder, options);
}
