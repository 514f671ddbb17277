import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { expect, test } from 'vitest';
import { fingerprintOf, identityOf } from './identify-model.ts';

const apiKey = 'x';

test.each([
  ['OpenAI', (baseURL: string) => createOpenAI({ baseURL, apiKey })('m')],
  ['OpenAI chat', (baseURL: string) => createOpenAI({ baseURL, apiKey }).chat('m')],
  ['Google', (baseURL: string) => createGoogleGenerativeAI({ baseURL, apiKey })('m')],
  ['Anthropic', (baseURL: string) => createAnthropic({ baseURL, apiKey })('m')],
  ['compatible', (baseURL: string) => createOpenAICompatible({ name: 'c', baseURL })('m')],
])('models of one name at two addresses are two: %s', (_, modelAt) => {
  const [one, other] = [modelAt('http://one.test/v1'), modelAt('http://other.test/v1')];
  expect(identityOf(one)).toContain('m');
  expect(identityOf(one).join()).toContain('http://one.test/v1');
  expect(identityOf(other)).not.toEqual(identityOf(one));
  expect(identityOf(modelAt('http://one.test/v1'))).toEqual(identityOf(one));
});

test('the fingerprint of a folder changes with what a file holds, and with nothing else', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'teamtune-fingerprint-'));
  writeFileSync(join(folder, 'config.json'), '{"a": 1}');
  const before = await fingerprintOf(folder);
  writeFileSync(join(folder, 'config.json'), '{"a": 1}');
  expect(await fingerprintOf(folder)).toBe(before);
  writeFileSync(join(folder, 'config.json'), '{"a": 2}');
  expect(await fingerprintOf(folder)).not.toBe(before);
});
