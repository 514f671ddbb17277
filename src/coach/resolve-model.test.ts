import { execFile } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { APICallError } from 'ai';
import { describe, expect, it } from 'vitest';
import { waitBeforeRetry } from './call-error.ts';
import { resolveModel } from './resolve-model.ts';

describe('resolveModel', () => {
  it.each([
    ['google/gemini-2.5-flash', { GEMINI_API_KEY: 'k' }, 'gemini-2.5-flash'],
    ['openai/gpt-5-mini', { OPENAI_API_KEY: 'k' }, 'gpt-5-mini'],
    ['anthropic/claude-sonnet-4-5', { ANTHROPIC_API_KEY: 'k' }, 'claude-sonnet-4-5'],
    ['vertex/gemini-2.5-flash', { GOOGLE_VERTEX_API_KEY: 'k' }, 'gemini-2.5-flash'],
    [
      'vertex/gemini-2.5-pro',
      { GOOGLE_VERTEX_PROJECT: 'p', GOOGLE_VERTEX_LOCATION: 'europe-west4' },
      'gemini-2.5-pro',
    ],
    ['openai-compatible/org/qwen3@8b@http://127.0.0.1:8000/v1', {}, 'org/qwen3@8b'],
  ])('loads %s', async (text, environment, modelId) => {
    expect((await resolveModel(text, environment)()).modelId).toBe(modelId);
  });

  it.each([
    ['google/gemini-2.5-flash', /set GOOGLE_GENERATIVE_AI_API_KEY or GEMINI_API_KEY/],
    ['openai/gpt-5-mini', /set OPENAI_API_KEY in the environment/],
    ['anthropic/claude-sonnet-4-5', /set ANTHROPIC_API_KEY/],
    [
      'vertex/gemini-2.5-flash',
      /set GOOGLE_VERTEX_API_KEY, or GOOGLE_VERTEX_PROJECT and GOOGLE_VERTEX_LOCATION with a login/,
    ],
    ['openai-compatible/qwen3', /<model>@<url>/],
    ['openai-compatible/qwen3@ftp://x', /<model>@<url>/],
    ['gemini-2.5-flash', /must be <provider>\/<model>/],
    ['deepseek/x', /must be <provider>\/<model>/],
    ['constructor/x', /must be <provider>\/<model>/],
  ])('refuses %s before any call', (text, message) => {
    expect(() => resolveModel(text, {})).toThrow(message);
  });
});

it('names the package that is not installed, and how to install it', async () => {
  const file = fileURLToPath(new URL('./resolve-model.ts', import.meta.url));
  // Node's own failure to find a package, in a process where one is hidden.
  const hide = `import { registerHooks } from 'node:module';
    registerHooks({ resolve: (name, context, next) =>
      next(name === '@ai-sdk/openai' ? '@ai-sdk/not-installed' : name, context) });
    const { resolveModel } = await import(${JSON.stringify(pathToFileURL(file).href)});
    await resolveModel('openai/gpt-5-mini', { OPENAI_API_KEY: 'k' })().catch(({ boundary, message }) =>
      console.log(boundary, message));`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...['--input-type=module', '--eval', hide],
  ]);
  expect(stdout.trim()).toBe(
    'coach The coach model "openai/gpt-5-mini" needs the package @ai-sdk/openai: npm install @ai-sdk/openai.',
  );
});

describe('waitBeforeRetry', () => {
  const refused = (responseHeaders: Record<string, string>) =>
    new APICallError({
      message: 'm',
      url: 'u',
      requestBodyValues: {},
      statusCode: 429,
      responseHeaders,
    });

  it('waits as long as the server asks', () => {
    expect(waitBeforeRetry(refused({ 'retry-after': '7' }), 1, 0.5)).toBe(7000);
    expect(waitBeforeRetry(refused({ 'retry-after-ms': '70' }), 1, 0.5)).toBe(70);
    const past = new Date(0).toUTCString();
    expect(waitBeforeRetry(refused({ 'retry-after': past }), 1, 0.5)).toBe(0);
  });

  it('doubles from half a second to half a minute, with jitter', () => {
    expect(waitBeforeRetry(refused({}), 1, 0)).toBe(250);
    expect(waitBeforeRetry(refused({}), 3, 1)).toBe(2000);
    expect(waitBeforeRetry(refused({ 'retry-after': 'soon' }), 30, 1)).toBe(30_000);
  });
});
