import { createRandom, type Random, seedFor } from '../src/random.ts';
import type { Tokenizer } from '../src/tokenizer/tokenizer.ts';
import type { Datum } from '../src/types/training-service.ts';
import { encodeDemonstration } from './arithmetic/demonstrations.ts';

/** A question and its answer, worked out. */
export type WorkedExample = readonly [asked: string, said: string];

/**
 * Worked examples of one question and one answer, fresh ones for every step.
 *
 * @param from.seedOf parts of a step's seed
 * @param from.draw one example; `row` is its place in the step
 */
export function demonstrationBatches(
  tokenizer: Tokenizer,
  from: {
    readonly rows: number;
    readonly seedOf: (step: number) => readonly (string | number)[];
    readonly draw: (random: Random, row: number) => WorkedExample;
  },
): (step: number) => Datum[] {
  return (step) => {
    const random = createRandom(seedFor(...from.seedOf(step)));
    return Array.from({ length: from.rows }, (_, row) => {
      const [asked, said] = from.draw(random, row);
      const messages = [
        { role: 'user', content: asked },
        { role: 'assistant', content: said },
      ] as const;
      return encodeDemonstration(tokenizer, { messages });
    });
  };
}

/** Any of the items. */
export function pick<Item>(items: readonly Item[], random: Random): Item {
  return items[random.integer(items.length)] as Item;
}
