import { expect, it } from 'vitest';
import { Extents } from './extents.ts';

it('takes the first stretch that is long enough', () => {
  const extents = new Extents(10);
  const [first, second] = [extents.take(3), extents.take(2)];
  expect([first, second]).toEqual([
    { start: 0, length: 3 },
    { start: 3, length: 2 },
  ]);
  extents.giveBack({ start: 0, length: 3 });
  expect(extents.take(4)).toEqual({ start: 5, length: 4 });
  expect(extents.take(2)).toEqual({ start: 0, length: 2 });
  expect(extents.used).toBe(8);
});

it('joins what is given back with the free stretches beside it', () => {
  const extents = new Extents(9);
  for (const start of [0, 3, 6]) expect(extents.take(3)).toEqual({ start, length: 3 });
  expect(extents.take(1)).toBeUndefined();
  extents.giveBack({ start: 0, length: 3 });
  extents.giveBack({ start: 6, length: 3 });
  expect(extents.take(4)).toBeUndefined();
  extents.giveBack({ start: 3, length: 3 });
  expect(extents.take(9)).toEqual({ start: 0, length: 9 });
});

it('extends a stretch in its place where what stands behind it is free', () => {
  const extents = new Extents(8);
  const first = extents.take(2) ?? { start: -1, length: 0 };
  const second = extents.take(2) ?? { start: -1, length: 0 };
  expect(extents.extend(first, 3)).toBeUndefined();
  expect(extents.extend(second, 6)).toEqual({ start: 2, length: 6 });
  extents.giveBack({ start: 5, length: 3 });
  expect(extents.extend({ start: 2, length: 3 }, 7)).toBeUndefined();
  expect(extents.used).toBe(5);
});
