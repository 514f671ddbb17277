import type { Random } from '../src/random.ts';
import type { BuildTokenizerOptions } from '../src/tokenizer/build-tokenizer.ts';
import { demonstrationBatches, type WorkedExample } from './demonstration-batches.ts';
import type { TinyBase, TinyRecipe } from './tiny-base.ts';

/** Nothing but what is written: every character is one token. */
const tokenizer: BuildTokenizerOptions = {
  words: [],
  numbers: 0,
  chatTemplate: '{%- for message in messages -%}{{- message.content -}}{%- endfor -%}',
};

/**
 * A base that learns a language of single characters from worked examples.
 *
 * @param of.ingredients whatever the examples depend on
 * @param of.examples asked once, when the base is made, for what draws one example
 */
export function plainBase(of: {
  readonly name: string;
  readonly recipe: TinyRecipe;
  readonly ingredients: unknown;
  readonly rowsPerStep: number;
  readonly examples: () => (random: Random) => WorkedExample;
}): TinyBase {
  const { name, recipe, ingredients, rowsPerStep } = of;
  return {
    ...{ name, recipe, tokenizer, ingredients },
    batches: (made) =>
      demonstrationBatches(made, {
        rows: rowsPerStep,
        seedOf: (step) => [name, recipe.seed, step],
        draw: of.examples(),
      }),
  };
}
