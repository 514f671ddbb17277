import { expect, test } from 'vitest';
import { createGate } from './gate.ts';

/** Work that ends when it is told to, and notes when it begins. */
function controlled(begun: string[]) {
  const ends = new Map<string, () => void>();
  const work = (name: string) => () => {
    begun.push(name);
    return new Promise<void>((resolve) => ends.set(name, resolve));
  };
  return { work, end: (name: string) => ends.get(name)?.() };
}

test('no more requests than the limit are under way, and the next begins when one ends', async () => {
  const begun: string[] = [];
  const { work, end } = controlled(begun);
  const gate = createGate({ requests: 2, bytes: 100 });
  const all = ['a', 'b', 'c'].map((name) => gate.during(1, work(name)));
  await Promise.resolve();
  expect(begun).toEqual(['a', 'b']);
  end('b');
  await all[1];
  await Promise.resolve();
  expect(begun).toEqual(['a', 'b', 'c']);
  end('a');
  end('c');
  await Promise.all(all);
});

test('bytes count, nobody overtakes, and what is larger than the limit goes alone', async () => {
  const begun: string[] = [];
  const { work, end } = controlled(begun);
  const gate = createGate({ requests: 9, bytes: 10 });
  const sizes = { a: 6, big: 50, small: 1 };
  const all = Object.entries(sizes).map(([name, bytes]) => gate.during(bytes, work(name)));
  await Promise.resolve();
  expect(begun).toEqual(['a']);
  end('a');
  await all[0];
  await Promise.resolve();
  expect(begun).toEqual(['a', 'big']);
  end('big');
  await all[1];
  await Promise.resolve();
  expect(begun).toEqual(['a', 'big', 'small']);
  end('small');
  await Promise.all(all);
});

test('work that fails makes room, too', async () => {
  const gate = createGate({ requests: 1, bytes: 10 });
  const failed = gate.during(1, () => Promise.reject(new Error('cut')));
  const next = gate.during(1, async () => 'done');
  await expect(failed).rejects.toThrow('cut');
  expect(await next).toBe('done');
});
