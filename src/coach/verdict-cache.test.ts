import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cacheKey, openVerdictCache } from './verdict-cache.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'teamtune-cache-'));
const question = {
  model: ['m', 'url'],
  promptVersion: 1,
  form: { type: 'object' },
  text: 'Judge this.',
};

test('the key changes with the model, the prompt version, the form and the text, and with nothing else', () => {
  const keys = [
    question,
    { ...question, model: ['m', 'another url'] },
    { ...question, promptVersion: 2 },
    { ...question, form: { type: 'string' } },
    { ...question, text: 'Judge that.' },
  ].map(cacheKey);
  expect(new Set(keys).size).toBe(5);
  expect(cacheKey({ ...question })).toBe(keys[0]);
});

test('replies outlive the process that paid for them, and two processes share one file', () => {
  const path = join(folder(), 'new', 'cache.db');
  const first = openVerdictCache(path);
  const second = openVerdictCache(path);
  first.set('k', 'naïve \ud83d\ude42');
  expect(second.get('k')).toBe('naïve \ud83d\ude42');
  expect(second.get('other')).toBeUndefined();
  first.close();
  second.close();
  const later = openVerdictCache(path);
  expect(later.get('k')).toBe('naïve \ud83d\ude42');
  later.close();
});

test('a folder that cannot be made is named', () => {
  const file = join(folder(), 'file');
  writeFileSync(file, '');
  expect(() => openVerdictCache(join(file, 'x', 'cache.db'))).toThrow(
    /coaching.cache: the folder of/,
  );
});
