import { expect, test } from 'vitest';
import type { Metrics } from '../types/metrics.ts';
import { createProgress } from './progress.ts';

function linesOf(agents: readonly string[], steps: readonly Metrics[]): string[] {
  const written: string[] = [];
  const screen = { isTerminal: true, write: (text: string) => written.push(text) };
  const progress = createProgress(screen, { steps: steps.length, agents });
  for (const [index, metrics] of steps.entries()) progress.step(index + 1, metrics);
  return written.join('').trimEnd().split('\n');
}

test('A step of a coached team shows the mean points of each agent', () => {
  const metrics = { accuracy: 0.5, 'score/ann': 7.25, 'score/bob': 3 };
  expect(linesOf(['ann', 'bob'], [metrics])).toEqual([
    'step 1/1  team 50.0 %  coach ann 7.3 · bob 3.0',
  ]);
});

test('A step of a discussion that no coach judges shows its first and its last turn, and no points', () => {
  const turns = { 'accuracy/turn-1': 0.125, 'accuracy/turn-2': 0.5, 'accuracy/turn-3': 0.75 };
  expect(linesOf(['ann', 'bob'], [{ accuracy: 1, ...turns }])).toEqual([
    'step 1/1  team 100.0 %  answers 12.5 % in turn 1, 75.0 % in turn 3',
  ]);
});

test('The steps of a round of MALT show examples and preferences of the agents that have some', () => {
  const lines = linesOf(
    ['ann', 'bob'],
    [
      { accuracy: 0.5, 'examples/ann': 12, 'examples/bob': 0, 'sft-steps/ann': 1 },
      { 'dpo-accuracy/bob': 0.95 },
    ],
  );
  expect(lines[0]).toMatch(/^step 1\/2 {2}team 50\.0 % {2}SFT examples ann 12 · bob 0/);
  expect(lines[1]).toBe('step 2/2  DPO pairs told right bob 95.0 %');
});

test('Trees whose leaves a coach judges show what they are worth, and no examples where values are rewards', () => {
  const metrics = { accuracy: 0.25, 'leaf-value': 0.625, 'examples/ann': 12 };
  expect(linesOf(['ann'], [metrics])).toEqual(['step 1/1  team 25.0 %  leaves worth 0.63']);
});

test('Who learned nothing, and whose actions are mostly cut off, is said once', () => {
  const metrics = {
    ...{ 'optimizer-steps/ann': 0, 'uniform/ann': 1, 'truncated/ann': 0.5 },
    ...{ 'optimizer-steps/bob': 0, 'uniform/bob': 0, 'truncated/bob': 0.75 },
    ...{ 'optimizer-steps/cy': 1, 'uniform/cy': 0, 'truncated/cy': 1 },
  };
  const later = { 'optimizer-steps/ann': 0, 'uniform/ann': 1, 'optimizer-steps/cy': 0 };
  const steps = [metrics, { ...metrics, ...later, 'uniform/cy': 1 }];
  const notes = linesOf(['ann', 'bob', 'cy'], steps).filter((line) => line.startsWith(' '));
  expect(notes).toEqual([
    '  nothing to learn in step 1, as all rewards were equal: ann',
    '  nothing to learn in step 1, as no action got credit: bob',
    '  many actions of step 1 were cut off at maxTokens or rollout.maxActionTokens: bob 75.0 %, cy 100.0 %',
    '  nothing to learn in step 2, as all rewards were equal: cy',
  ]);
  const shared = { 'optimizer-steps/shared': 0, 'uniform/ann': 1, 'uniform/bob': 1 };
  expect(linesOf(['ann', 'bob'], [shared])).toContain(
    '  nothing to learn in step 1, as all rewards were equal: shared',
  );
});
