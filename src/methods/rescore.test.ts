import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { createFunctionCoach } from '../coach/function-coach.ts';
import type { CreditOptions } from '../credit/assign-credit.ts';
import { openRun, type Run } from '../run/run-store.ts';
import type { Coach } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { Trajectory } from '../types/trajectory.ts';
import { compareCredit } from './recredit.ts';
import { rescoreRun } from './rescore.ts';

let directory: string;
let run: Run;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'teamtune-rescore-'));
  run = openRun(directory, { mode: 'create' });
});
afterEach(() => {
  run.close();
  rmSync(directory, { recursive: true, force: true });
});

/** One completed step of plays `[score of the only action, whether the answer was right]`, one task each. */
function recordStep(plays: readonly (readonly [score: number, correct: boolean])[]): void {
  run.rescores.recordTasks(plays.map((_, at) => ({ id: `t${at}`, prompt: `task ${at}` })));
  const actions = plays.map((_, at) => sampleAction(`1/t${at}/0/0`));
  for (const [at, [score, correct]] of plays.entries()) {
    const action = actions[at] as (typeof actions)[number];
    run.recordAction(1, action);
    const verdict = { kind: 'scored', actionId: action.id, score, reason: 'r' } as const;
    run.recordFeedback({ ...verdict, blame: 'none' });
    const id = `1/t${at}/0`;
    run.recordTrajectory(1, { id, taskId: `t${at}`, sample: 0, actions: [action], answer: '7' });
    run.recordOutcome({ trajectoryId: id, correct });
  }
  run.rescores.recordReferences(new Map(actions.map(({ id, logprobs }) => [id, logprobs])));
  run.completeStep(1, 'step-000001');
}

const quiet = { label: 'second', onScored: () => undefined };

test('a second coach is shown task, action and earlier actions; the first verdicts stay as they are', async () => {
  recordStep([
    [2, false],
    [9, true],
  ]);
  const before = run.feedbackOf(1);
  const seen: string[] = [];
  const coach = createFunctionCoach(({ task, action, earlier }) => {
    seen.push(`${task.prompt} ${action.text} ${earlier.length}`);
    return action.id === '1/t0/0/0' ? 3 : 8;
  });
  const result = await rescoreRun(run, { ...quiet, coach });
  expect(seen).toEqual(['task 0 3 + 4 = 7 0', 'task 1 3 + 4 = 7 0']);
  expect(result).toMatchObject({ actions: 2, asked: 2, unscored: {} });
  const { solver } = result.agents;
  expect(solver).toMatchObject({ pairs: 2, meanFirst: { value: 5.5 }, meanSecond: { value: 5.5 } });
  expect(solver?.pearson?.value).toBeCloseTo(1, 12);
  expect(run.feedbackOf(1)).toEqual(before);
  expect(run.rescores.secondOf('second', 1).get('1/t0/0/0')).toMatchObject({ score: 3 });
});

test('agents come in the order of the team, whoever is met first', async () => {
  run.setConfig({ team: { order: ['first', 'second'] } });
  run.rescores.recordTasks([{ id: 't', prompt: 'task' }]);
  const actions = ['second', 'first'].map((agent, at) => sampleAction(`1/t/0/${at}`, { agent }));
  for (const action of actions) {
    run.recordAction(1, action);
    const verdict = { kind: 'scored', actionId: action.id, score: 5, reason: 'r' } as const;
    run.recordFeedback({ ...verdict, blame: 'none' });
  }
  run.recordTrajectory(1, { id: '1/t/0', taskId: 't', sample: 0, actions, answer: '7' });
  run.completeStep(1, 'step-000001');
  const { agents } = await rescoreRun(run, { ...quiet, coach: createFunctionCoach(() => 5) });
  expect(Object.keys(agents)).toEqual(['first', 'second']);
});

test('interrupted, it asks again only for what has no score', async () => {
  recordStep([
    [2, false],
    [4, false],
    [9, true],
  ]);
  const failing: Coach = {
    ...createFunctionCoach(() => 5),
    score: async ({ action: { id: actionId } }) => {
      if (actionId.includes('t1')) return { kind: 'unscored', actionId, cause: 'asleep' };
      return { kind: 'scored', actionId, score: 6, reason: '', blame: 'none' };
    },
  };
  const first = await rescoreRun(run, { ...quiet, coach: failing });
  expect(first).toMatchObject({ asked: 3, unscored: { asleep: 1 } });
  expect(first.agents.solver?.pairs).toBe(2);
  const second = await rescoreRun(run, { ...quiet, coach: createFunctionCoach(() => 5) });
  expect(second).toMatchObject({ actions: 3, asked: 1, unscored: {} });
  expect(run.rescores.secondOf('second', 1).get('1/t0/0/0')).toMatchObject({ score: 6 });
});

test('a sample is the same actions every time', async () => {
  recordStep(Array.from({ length: 40 }, (_, at) => [at % 10, at % 2 === 0] as const));
  const coach = createFunctionCoach(() => 5);
  const once = await rescoreRun(run, { ...quiet, coach, sample: 10 });
  const again = await rescoreRun(run, { ...quiet, coach, sample: 10 });
  expect([once.asked, again.asked, again.actions]).toEqual([10, 0, 10]);
});

test('a coach that saw how plays ended sees it again, and no other does', async () => {
  recordStep([
    [2, false],
    [9, true],
  ]);
  const seen: unknown[] = [];
  const coach = createFunctionCoach(({ outcome }) => {
    seen.push(outcome?.correct);
    return 5;
  });
  await rescoreRun(run, { ...quiet, coach });
  await rescoreRun(run, { ...quiet, coach, label: 'with outcome', showOutcome: true });
  expect(seen).toEqual([undefined, undefined, false, true]);
});

test('a run without a scored action, or without its tasks, is refused with the reason', async () => {
  const coach = createFunctionCoach(() => 5);
  await expect(rescoreRun(run, { ...quiet, coach })).rejects.toThrow('no completed step');
  const action = sampleAction('1/t/0/0');
  run.recordAction(1, action);
  const verdict = { kind: 'scored', actionId: action.id, score: 1, reason: '' } as const;
  run.recordFeedback({ ...verdict, blame: 'none' });
  run.recordTrajectory(1, { id: '1/t/0', taskId: 't', sample: 0, actions: [action], answer: '7' });
  run.completeStep(1, 'step-000001');
  await expect(rescoreRun(run, { ...quiet, coach })).rejects.toThrow('task t is missing');
});

const credit: CreditOptions = { credit: 'coach', klCoefficient: 0, gamma: 1, sigmaFloor: 1e-4 };

test('advantages by outcome against those by coach, worked out by hand', async () => {
  // Scores 2 4 6 8 against grades 0 1 0 1: deviations −3 −1 1 3 and −½ ½ −½ ½, so r = 2/√(20·1), signs agree in two of four.
  recordStep([
    [2, false],
    [4, true],
    [6, false],
    [8, true],
  ]);
  const second = { ...credit, credit: 'outcome' } as const;
  const { solver } = compareCredit(run, { first: credit, second });
  expect(solver).toMatchObject({ actions: 4, onlyFirst: 0, onlySecond: 0 });
  expect(solver?.correlation?.value).toBeCloseTo(2 / Math.sqrt(20), 6);
  expect(solver?.signAgreement?.value).toBe(0.5);
});

test('advantages by influence-aware rewards against those by coach, worked out by hand', () => {
  // Each play has one turn of one agent, whose reward by MAPoRL is its verdict: the coach's again, or its grade.
  recordStep([
    [2, false],
    [4, true],
    [6, false],
    [8, true],
  ]);
  const influence = { turnDiscount: 0.3, influenceSign: 'paper', ties: 'silent' } as const;
  const incentives = { a0: 0, a1: 0, b0: 0, b1: 0 };
  const grade = (_: Task, { id, answer }: Trajectory) => ({
    trajectoryId: id,
    correct: answer === '7',
  });
  const correlationWith = (isGraded: boolean) => {
    const discussion = { ...influence, incentives, grade, isGraded };
    const second = { ...credit, credit: 'method', discussion } as const;
    return compareCredit(run, { first: credit, second }).solver;
  };
  expect(correlationWith(false)?.correlation?.value).toBeCloseTo(1, 6);
  // What the agents wrote is never 7, so that no grade differs and nothing is credited.
  expect(correlationWith(true)).toMatchObject({ actions: 0, onlyFirst: 4 });
});

test('groups of one give no correlation under rloo, and the reason is told', () => {
  recordStep([
    [2, false],
    [8, true],
  ]);
  const { solver } = compareCredit(run, {
    first: credit,
    second: { ...credit, estimator: 'rloo' },
  });
  expect(solver).not.toHaveProperty('correlation');
  expect(solver?.note).toMatch(
    /0 of its actions got credit both ways; no task of a step has two actions/,
  );
});

test('second verdicts can take the place of the first, and a label that is not there is named', async () => {
  recordStep([
    [2, false],
    [8, true],
  ]);
  const options = { first: credit, second: credit, verdicts: 'second' };
  expect(() => compareCredit(run, options)).toThrow('has no second verdicts of "second"');
  const turned = createFunctionCoach(({ action }) => (action.id === '1/t0/0/0' ? 8 : 2));
  await rescoreRun(run, { ...quiet, coach: turned });
  const { solver } = compareCredit(run, options);
  expect(solver?.correlation?.value).toBeCloseTo(-1, 6);
  expect(solver?.signAgreement?.value).toBe(0);
});
