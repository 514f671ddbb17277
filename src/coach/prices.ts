/** What a model costs, USD per million tokens; reasoning is paid as output. */
export type Price = { readonly input: number; readonly output: number };

/** Model as `provider/model` → price. */
export type Prices = Readonly<Record<string, Price>>;

/**
 * List prices of January 2026, without discounts for cached input or batches. They change: `coaching.prices` overrides
 * and adds.
 */
const LIST_PRICES: Prices = {
  'google/gemini-2.5-flash': { input: 0.3, output: 2.5 },
  'google/gemini-2.5-flash-lite': { input: 0.1, output: 0.4 },
  'google/gemini-2.5-pro': { input: 1.25, output: 10 },
  'openai/gpt-5': { input: 1.25, output: 10 },
  'openai/gpt-5-mini': { input: 0.25, output: 2 },
  'openai/gpt-5-nano': { input: 0.05, output: 0.4 },
  'openai/gpt-4.1': { input: 2, output: 8 },
  'openai/gpt-4.1-mini': { input: 0.4, output: 1.6 },
  'anthropic/claude-haiku-4-5': { input: 1, output: 5 },
  'anthropic/claude-sonnet-4-5': { input: 3, output: 15 },
};

/** What costs nothing: our own engine on this machine. */
const FREE: Price = { input: 0, output: 0 };

/** The price of a coach by its name; undefined where it is not known, which is not the same as free. */
export function priceOf(name: string, overrides: Prices): Price | undefined {
  const own = Object.hasOwn(overrides, name) ? overrides[name] : undefined;
  if (own !== undefined) return own;
  if (name.startsWith('local/')) return FREE;
  // Vertex sells the same models at the same prices.
  const listed = name.replace(/^vertex\//, 'google/');
  return Object.hasOwn(LIST_PRICES, listed) ? LIST_PRICES[listed] : undefined;
}

/** USD. */
export function costOf(price: Price, tokens: { readonly input: number; readonly output: number }) {
  return (price.input * tokens.input + price.output * tokens.output) / 1e6;
}
