import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeRandomModel } from '../../test/support/make-random-model.ts';
import { sampleAction } from '../../test/support/sample-run.ts';
import { createLlmCoach } from './llm-coach.ts';
import { loadLocalModel } from './local-model.ts';

const options = { device: 'cpu', dtype: 'float32', maxRows: 4 } as const;

test('a model folder coaches: our engine answers with its own template, and noise is no score', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'teamtune-local-coach-')), 'model');
  await makeRandomModel(folder);
  const { model, close } = await loadLocalModel(folder, options);
  const coach = createLlmCoach({
    ...{ model, team: {}, rubric: '{{fence}} {{written}} {{verdict}}', maxReplyTokens: 6 },
    ...{ timeoutMs: 60_000, concurrency: 2, maxAttempts: 1 },
  });
  const request = {
    ...{ task: { id: 't', prompt: 'p' }, action: sampleAction('1/t/0/0'), earlier: [] },
  };
  expect(coach.name).toBe(`local/${folder}`);
  await coach.check();
  expect(await coach.score(request)).toMatchObject({
    kind: 'unscored',
    cause: expect.stringMatching(/^no verdict after a repair/),
  });
  // The check, the question and its repair, of at most six tokens each.
  expect(coach.usage()).toMatchObject({ calls: 3 });
  expect(coach.usage().inputTokens).toBeGreaterThan(100);
  expect(coach.usage().outputTokens).toBeLessThanOrEqual(18);
  await close();
});

test('a folder that is not there is named', async () => {
  await expect(loadLocalModel('/nowhere/model', options)).rejects.toThrow(
    'there is none at /nowhere/model',
  );
});
