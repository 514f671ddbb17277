import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { openRun } from '../run/run-store.ts';
import type { Training } from './training.ts';
import { watchCoach } from './watch-coach.ts';

test('a coach who likes wrong answers better is told of once, at the fifth step', () => {
  const directory = mkdtempSync(join(tmpdir(), 'teamtune-watch-'));
  const run = openRun(directory, { mode: 'create' });
  const notes: string[] = [];
  const watch = { note: (text: string) => notes.push(text) };
  const settings = { credit: { credit: 'coach' } };
  const audit = watchCoach({ run, watch, settings } as unknown as Training);
  for (let step = 1; step <= 10; step++) {
    for (let at = 0; at < 10; at++) {
      const id = `${step}/t${at}/0`;
      const action = sampleAction(`${id}/0`);
      run.recordAction(step, action);
      const verdict = { kind: 'scored', actionId: action.id, reason: '', blame: 'none' } as const;
      run.recordFeedback({ ...verdict, score: at < 5 ? 8 : 3 + (at % 2) });
      const play = { id, taskId: `t${at}`, sample: 0, actions: [action], answer: '7' };
      run.recordTrajectory(step, play);
      run.recordOutcome({ trajectoryId: id, correct: at >= 5 });
    }
    audit(step);
    expect(notes).toHaveLength(step < 5 ? 0 : 1);
  }
  run.close();
  rmSync(directory, { recursive: true, force: true });
  expect(notes[0]).toContain("warning: the coach's scores of solver do not go with right answers");
});
