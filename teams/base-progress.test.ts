import { expect, test, vi } from 'vitest';
import { baseProgress } from './base-progress.ts';

test('the first step is told at once with how long it takes, then every hundredth', () => {
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const progress = baseProgress('two minutes');
  for (let step = 1; step <= 200; step++) progress(step, 200, step === 200 ? 0.25 : undefined);
  const lines = written.mock.calls.map(([line]) => line);
  written.mockRestore();
  expect(lines).toEqual([
    'making the base model, two minutes: step 1 of 200\n',
    'making the base model: step 100 of 200\n',
    'making the base model: step 200 of 200, loss 0.250\n',
  ]);
});
