import { expect, test } from 'vitest';
import { type Budget, createMemoryBooks, Ledger, spentError } from './ledger.ts';
import { costOf, priceOf } from './prices.ts';

/** A million tokens in for a dollar, out for two: a byte of question may cost a millionth. */
const price = { input: 1, output: 2 };
const call = { inputBytes: 904, maxOutputTokens: 2_500 };
/** (904 + 4,096 of envelope) × 1 + 2,500 × 2, in millionths. */
const bound = 0.01;

const ledgerWith = (budget: Omit<Budget, 'whenSpent'>, books = createMemoryBooks()) =>
  new Ledger({ model: 'm', books, price, budget: { ...budget, whenSpent: 'pause' } });

test('of 64 calls at once, exactly as many are let through as the budget has', async () => {
  const ledger = ledgerWith({ calls: 10 });
  const asked = await Promise.all(Array.from({ length: 64 }, () => ledger.reserve(call)));
  expect(asked.filter((reservation) => reservation !== undefined)).toHaveLength(10);
  expect(ledger.isSpent).toBe(true);
  expect(ledger.usage().calls).toBe(10);
});

test('money is set aside before the call, and a caller for whom it does not reach waits for others to end', async () => {
  const ledger = ledgerWith({ usd: 2.5 * bound });
  const [first, second] = [await ledger.reserve(call), await ledger.reserve(call)];
  let isThird = false;
  const third = ledger.reserve(call).then((reservation) => {
    isThird = reservation !== undefined;
  });
  await new Promise(setImmediate);
  expect(isThird).toBe(false);
  first?.answered({ input: 100, output: 50 });
  await third;
  expect(isThird).toBe(true);
  second?.answered({ input: 100, output: 50 });
  expect(ledger.usage()).toMatchObject({ calls: 3, usd: 0.0004, inputTokens: 200 });
});

test('the budget ends when one more call could exceed it and none is under way', async () => {
  const ledger = ledgerWith({ usd: 1.5 * bound });
  (await ledger.reserve(call))?.answered({ input: 4_000, output: 1_000 });
  expect(ledger.usage().usd).toBe(0.006);
  // 0.006 + 0.01 > 0.015, though most calls cost less.
  expect(await ledger.reserve(call)).toBeUndefined();
  expect(ledger.isSpent).toBe(true);
});

test('a refused call costs nothing, one whose end is not known or not counted its bound', async () => {
  const ledger = ledgerWith({ usd: 2.5 * bound });
  (await ledger.reserve(call))?.failed(true);
  expect(ledger.usage()).toMatchObject({ calls: 1, usd: 0 });
  (await ledger.reserve(call))?.failed(false);
  (await ledger.reserve(call))?.answered({ input: undefined, output: 7 });
  expect(ledger.usage()).toMatchObject({ calls: 3, usd: 0, usdUnknown: 2 * bound });
  expect(await ledger.reserve(call)).toBeUndefined();
});

test('a resumed run goes on counting, and a budget that was spent stays spent until it is raised', async () => {
  const books = createMemoryBooks();
  const before = ledgerWith({ calls: 2 }, books);
  await before.reserve(call);
  await before.reserve(call);
  expect(await before.reserve(call)).toBeUndefined();
  expect(ledgerWith({ calls: 2 }, books).isSpent).toBe(true);
  const raised = ledgerWith({ calls: 3 }, books);
  expect(raised.isSpent).toBe(false);
  expect(await raised.reserve(call)).toBeDefined();
  expect(await raised.reserve(call)).toBeUndefined();
});

test('a budget in money without a price is refused with the fix', () => {
  const budget = { usd: 1, whenSpent: 'pause' } as const;
  const open = () => new Ledger({ model: 'x/y', books: createMemoryBooks(), budget });
  expect(open).toThrow(/price of x\/y is not known; add coaching.prices = \{ 'x\/y': /);
});

test('prices: the user’s own go first, Vertex costs what Google does, our own engine nothing', () => {
  expect(priceOf('google/gemini-2.5-flash', {})).toEqual({ input: 0.3, output: 2.5 });
  expect(priceOf('vertex/gemini-2.5-flash', {})).toEqual({ input: 0.3, output: 2.5 });
  expect(priceOf('google/gemini-2.5-flash', { 'google/gemini-2.5-flash': price })).toBe(price);
  expect(priceOf('local//models/x', {})).toEqual({ input: 0, output: 0 });
  expect(priceOf('openai-compatible/x@http://h/v1', {})).toBeUndefined();
  expect(costOf({ input: 0.3, output: 2.5 }, { input: 10_000, output: 400 })).toBeCloseTo(
    0.004,
    12,
  );
});

test('the sentence of a spent budget says what was used and what to do', () => {
  const usage = { calls: 9, inputTokens: 0, outputTokens: 0, usd: 0.5, usdUnknown: 0.25 };
  expect(spentError('m', { calls: 9, usd: 1, whenSpent: 'pause' }, usage).message).toBe(
    'the budget for the coach m is spent (9 of 9 calls, $0.7500 of $1 used, and one more call would not fit): raise coaching.budget and give the same command again (train and evaluate: with --resume)',
  );
});
