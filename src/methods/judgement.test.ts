import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { openRun, type Run } from '../run/run-store.ts';
import type { Coach, CoachRequest, Feedback, Hindsight } from '../types/feedback.ts';
import { openJudgement, withoutJudgement } from './judgement.ts';
import type { Training } from './training.ts';

function newRun(): { readonly run: Run; readonly reopened: () => Run } {
  const directory = join(mkdtempSync(join(tmpdir(), 'teamtune-judgement-')), 'run');
  const run = openRun(directory, { mode: 'create' });
  run.recordAction(1, action);
  const reopened = () => {
    run.close();
    return openRun(directory, { mode: 'resume' });
  };
  return { run, reopened };
}

const action = sampleAction('1/t/0/0');
const request: CoachRequest = { task: { id: 't', prompt: 'p' }, action, earlier: [] };
const scored: Feedback = {
  ...{ kind: 'scored', actionId: action.id, score: 7, reason: 'Neat.', blame: 'none' },
};
const unscored: Feedback = { kind: 'unscored', actionId: action.id, cause: 'asleep' };

function coachThat(judge: (request: CoachRequest) => Promise<Feedback>) {
  const asked: CoachRequest[] = [];
  const coach: Coach = {
    ...{ name: 'c', usage: () => ({ calls: 0, inputTokens: 0, outputTokens: 0 }) },
    score: (of) => {
      asked.push(of);
      return judge(of);
    },
  };
  return { coach, asked };
}

const whole = () => ({ stop: new AbortController(), of: 'all' }) as const;

/** What a judgement works with; the rest of a training is none of its business. */
const trainingOf = (run: Run, coach: Coach, showOutcome: Hindsight = false, notes: string[] = []) =>
  ({
    ...{ run, coach, settings: { coachConcurrency: 4, showOutcome } },
    watch: { note: (text: string) => notes.push(text) },
  }) as unknown as Training;

test('what can be judged is judged at once and asked for once, whoever wants it', async () => {
  const { run } = newRun();
  const { coach, asked } = coachThat(async () => scored);
  const judgement = openJudgement(trainingOf(run, coach), '1', whole());
  judgement.onJudgeable?.(request);
  expect(asked).toHaveLength(1);
  expect(await judgement.verdictOn(request)).toEqual({ words: '7 of 10 points. Neat.', score: 7 });
  const trajectory = { id: '1/t/0', taskId: 't', sample: 0, actions: [action], answer: '' };
  await judgement.scoreEnded(request.task, trajectory, undefined);
  expect(asked).toHaveLength(1);
  expect([...run.feedbackOf(1).values()]).toEqual([scored]);
  run.close();
});

test('a resumed play is shown what it was shown, without a second call, also that there was nothing', async () => {
  for (const [verdict, shown] of [
    [scored, { words: '7 of 10 points. Neat.', score: 7 }],
    [unscored, undefined],
  ] as const) {
    const { run, reopened } = newRun();
    const first = coachThat(async () => verdict);
    const before = openJudgement(trainingOf(run, first.coach), '1', whole());
    expect(await before.verdictOn(request)).toEqual(shown);
    const again = reopened();
    const { coach, asked } = coachThat(async () => ({ ...scored, score: 3 }));
    const after = openJudgement(trainingOf(again, coach), '1', whole());
    expect(await after.verdictOn(request)).toEqual(shown);
    expect(asked).toEqual([]);
    again.close();
  }
});

test('what a play was shown is shown again, even where the verdict has come or changed since', async () => {
  for (const words of [undefined, '2 of 10 points. Odd.']) {
    const { run, reopened } = newRun();
    run.coachRecords.recordShown(action.id, words);
    run.recordFeedback(scored);
    const again = reopened();
    const { coach } = coachThat(async () => scored);
    const judgement = openJudgement(trainingOf(again, coach), '1', whole());
    expect((await judgement.verdictOn(request))?.words).toBe(words);
    again.close();
  }
});

test('a coach that is to see the outcome is not asked before the play has ended', async () => {
  const { run } = newRun();
  const { coach, asked } = coachThat(async () => scored);
  const judgement = openJudgement(trainingOf(run, coach, true), '1', whole());
  expect(judgement.onJudgeable).toBeUndefined();
  const outcome = { trajectoryId: '1/t/0', correct: true };
  const trajectory = { id: '1/t/0', taskId: 't', sample: 0, actions: [action], answer: '' };
  await judgement.scoreEnded(request.task, trajectory, outcome);
  expect(asked[0]?.outcome).toEqual(outcome);
  run.close();
});

test('a coach that must stop the run stops it, even where the play would catch its failure', async () => {
  const { run } = newRun();
  const { coach } = coachThat(() => Promise.reject(new Error('bad key')));
  for (const ask of ['onJudgeable', 'verdictOn'] as const) {
    const stop = new AbortController();
    const judgement = openJudgement(trainingOf(run, coach), '1', { stop, of: 'all' });
    await Promise.resolve(judgement[ask]?.(request)).catch(() => undefined);
    await judgement.settled();
    expect(stop.signal.reason).toEqual(new Error('bad key'));
  }
  expect(run.coachRecords.shownOf(1).size).toBe(0);
  run.close();
});

test('where nobody judges, a team that asks for words gets none, and that is said once', async () => {
  const { run } = newRun();
  const notes: string[] = [];
  const { coach, asked } = coachThat(async () => scored);
  const judgement = withoutJudgement(trainingOf(run, coach, false, notes), 'eval:base');
  expect([await judgement.verdictOn(request), await judgement.verdictOn(request)]).toEqual([
    undefined,
    undefined,
  ]);
  expect(asked).toEqual([]);
  expect(notes).toEqual([
    'evaluation base: the team asks for the coach’s verdicts (showFeedback, showScore), and no coach is asked here: its agents play without them',
  ]);
  run.close();
});

test('what was judged before an interruption is known where nobody judges any more', () => {
  const { run, reopened } = newRun();
  run.recordFeedback(scored);
  const again = reopened();
  const { coach } = coachThat(async () => scored);
  const { feedback } = withoutJudgement(trainingOf(again, coach), '1');
  expect([...feedback.values()]).toEqual([scored]);
  again.close();
});

test('where only what plays ask about is judged, nothing else is, and the verdicts are kept', async () => {
  const { run, reopened } = newRun();
  const { coach, asked } = coachThat(async () => scored);
  const asIs = { stop: new AbortController(), of: 'asked' } as const;
  const judgement = openJudgement(trainingOf(run, coach), '1', asIs);
  expect(judgement.onJudgeable).toBeUndefined();
  const trajectory = { id: '1/t/0', taskId: 't', sample: 0, actions: [action], answer: '' };
  await judgement.scoreEnded(request.task, trajectory, undefined);
  expect(asked).toEqual([]);
  expect((await judgement.verdictOn(request))?.score).toBe(7);
  const again = reopened();
  const other = coachThat(async () => ({ ...scored, score: 3 }));
  const resumed = openJudgement(trainingOf(again, other.coach), '1', asIs);
  expect((await resumed.verdictOn(request))?.score).toBe(7);
  expect(resumed.feedback.get(action.id)).toEqual(scored);
  expect(other.asked).toEqual([]);
  again.close();
});

test('a play of a step ahead gets the verdict that it waits for before those of this step that nobody waits for', async () => {
  const { run } = newRun();
  const gate = Promise.withResolvers<void>();
  const { coach, asked } = coachThat(async (of) => {
    await gate.promise;
    return { ...scored, actionId: of.action.id };
  });
  const training = { ...trainingOf(run, coach), judging: new PQueue({ concurrency: 1 }) };
  const [now, ahead] = [
    openJudgement(training, '1', whole()),
    openJudgement(training, '2', whole()),
  ];
  const requestOf = (id: string): CoachRequest => {
    const other = sampleAction(id);
    if (id !== action.id) run.recordAction(id.slice(0, 1), other);
    return { ...request, action: other };
  };
  for (const id of ['1/t/0/0', '1/t/1/0', '1/t/2/0']) now.onJudgeable?.(requestOf(id));
  const awaited = requestOf('2/t/0/0');
  // As a play has it: what ends can be judged, and then the play asks.
  ahead.onJudgeable?.(awaited);
  const verdict = ahead.verdictOn(awaited);
  gate.resolve();
  expect((await verdict)?.score).toBe(7);
  await Promise.all([now.settled(), ahead.settled()]);
  const order = asked.map((of) => of.action.id);
  expect(order).toEqual(['1/t/0/0', '2/t/0/0', '1/t/1/0', '1/t/2/0']);
  run.close();
});
