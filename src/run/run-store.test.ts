import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { sampleAction, sampleTrajectory } from '../../test/support/sample-run.ts';
import type { Feedback } from '../types/feedback.ts';
import { openRun } from './run-store.ts';

const newDirectory = () => join(mkdtempSync(join(tmpdir(), 'teamtune-run-')), 'run');

test('What was recorded comes back bit for bit', () => {
  const run = openRun(newDirectory(), { mode: 'create' });
  const action = sampleAction('3/aime/2024/5/0', {
    // Views into the middle of a buffer, as engines hand them out.
    tokens: Int32Array.from([9, 1, -1, 2147483647]).subarray(1),
    logprobs: Float32Array.from([0, -0.1, Number.NEGATIVE_INFINITY, Number.NaN]).subarray(1),
    behaviourLogprobs: Float32Array.from([-0.5, -0.25, -1]),
    text: 'naïve\u0000 \ud83d\ude42 \ud83d \ufffe0000 </script>',
    toolCalls: [{ tool: 'python', input: '1', invalid: 'no fence' }],
    toolResults: [{ tool: 'python', status: 'timeout', output: '', durationMs: 0.1 + 0.2 }],
    stop: 'length',
  });
  const second = sampleAction('3/aime/2024/5/1', { parent: action.id });
  const trajectory = sampleTrajectory('3/aime/2024/5', [action, second]);
  run.recordAction(3, action);
  run.recordAction(3, second);
  run.recordTrajectory(3, trajectory);
  expect(run.actionsOf(3)).toStrictEqual([action, second]);
  expect(run.trajectoriesOf(3)).toStrictEqual([trajectory]);
  expect(run.trajectory(trajectory.id)).toStrictEqual(trajectory);
  expect(run.actionsOf(4)).toEqual([]);
  run.close();
});

test('Feedback, outcomes and evaluations come back, and absent fields stay absent', () => {
  const directory = newDirectory();
  const run = openRun(directory, { mode: 'create' });
  const actions = ['eval:base/t/0/0', 'eval:base/t/0/1'].map((id) => sampleAction(id));
  for (const action of actions) run.recordAction('eval:base', action);
  run.recordTrajectory('eval:base', { ...sampleTrajectory('eval:base/t/0', actions) });
  const feedback: Feedback[] = [
    {
      kind: 'scored',
      actionId: 'eval:base/t/0/0',
      score: 7.3,
      reason: 'r',
      blame: 'upstream',
      blamedAgent: 'a',
      answerCorrect: false,
    },
    { kind: 'unscored', actionId: 'eval:base/t/0/1', cause: 'timeout after 60 s' },
  ];
  for (const entry of feedback) run.recordFeedback(entry);
  run.recordOutcome({ trajectoryId: 'eval:base/t/0', correct: false });
  const row = { taskId: 't', sample: 0, correct: false, trajectoryId: 'eval:base/t/0' };
  run.recordEvaluation('base', [row]);
  run.close();

  const reader = openRun(directory, { mode: 'read' });
  expect([...reader.feedbackOf('eval:base').values()]).toStrictEqual(feedback);
  expect(reader.outcomesOf('eval:base').get('eval:base/t/0')).toStrictEqual({
    trajectoryId: 'eval:base/t/0',
    correct: false,
  });
  expect(reader.evaluations()).toStrictEqual([{ name: 'base', rows: [row] }]);
  reader.close();
});

test('Recording the same again changes nothing; other content under the same id is an error', () => {
  const run = openRun(newDirectory(), { mode: 'create' });
  const action = sampleAction('1/t/0/0');
  run.recordAction(1, action);
  run.recordAction(1, action);
  expect(run.actionsOf(1)).toHaveLength(1);
  const changed = { ...action, logprobs: Float32Array.from([-0.1, -0.25, -2e-8]) };
  expect(() => run.recordAction(1, changed)).toThrow('1/t/0/0 with another logprobs');
  run.close();
});

test('Feedback needs its action, a trajectory all of its actions, and a score lies between 0 and 10', () => {
  const run = openRun(newDirectory(), { mode: 'create' });
  const unscored = { kind: 'unscored', actionId: 'nobody', cause: 'c' } as const;
  expect(() => run.recordFeedback(unscored)).toThrow('contradicts what is stored');
  const action = sampleAction('1/t/0/0');
  expect(() => run.recordTrajectory(1, sampleTrajectory('1/t/0', [action]))).toThrow(
    'record actions as they happen',
  );
  run.recordAction(1, action);
  const scored = { kind: 'scored', actionId: action.id, reason: '', blame: 'none' } as const;
  expect(() => run.recordFeedback({ ...scored, score: 11 })).toThrow('contradicts');
  run.recordFeedback({ ...unscored, actionId: action.id });
  expect(() => run.recordFeedback({ ...scored, score: 11 })).toThrow('contradicts');
  // What cannot be recorded takes the place of nothing.
  expect(run.feedbackOf(1).get(action.id)?.kind).toBe('unscored');
  run.close();
});

test('A completed step keeps its metrics; an uncompleted one is measured anew', () => {
  const run = openRun(newDirectory(), { mode: 'create' });
  expect(run.lastCompletedStep()).toBeUndefined();
  run.recordMetrics(1, { seconds: 5, accuracy: 0.5 });
  run.completeStep(1, 'step-000001', { seconds: 6 });
  expect(run.metrics()).toEqual([{ step: 1, metrics: { seconds: 6 } }]);
  expect(run.lastCompletedStep()).toBe(1);
  expect(run.completedSteps()).toEqual([
    { step: 1, checkpoint: 'step-000001', completedAt: expect.any(Date) },
  ]);
  expect(() => run.recordMetrics(1, { seconds: 7 })).toThrow('is completed');
  expect(() => run.completeStep(2, 'step-000002', { kl: Number.NaN })).toThrow('metric kl');
  // Neither half of the refused transaction is there.
  expect(run.lastCompletedStep()).toBe(1);
  expect(run.metrics()).toHaveLength(1);
  run.close();
});

test('Another configuration on resume is refused by the name of the key', () => {
  const run = openRun(newDirectory(), { mode: 'create' });
  run.setConfig({ update: { learningRate: 1 }, seed: 1 });
  const hash = run.configHash;
  run.setConfig({ seed: 1, update: { learningRate: 1 } });
  expect(run.configHash).toBe(hash);
  expect(() => run.setConfig({ update: { learningRate: 2 }, seed: 1 })).toThrow(
    'update.learningRate was 1, is 2',
  );
  const more = { update: { learningRate: 2 }, seed: 1 };
  run.setConfig(more, { mayDiffer: ['update.learningRate'] });
  expect(run.resolvedConfig).toEqual(more);
  run.close();
});

test('A directory takes one new run; resume and read need one', () => {
  const directory = newDirectory();
  expect(() => openRun(directory, { mode: 'resume' })).toThrow('holds no run');
  expect(() => openRun(directory, { mode: 'read' })).toThrow('holds no run');
  openRun(directory, { mode: 'create' }).close();
  expect(() => openRun(directory, { mode: 'create' })).toThrow('already holds a run');
});

test('Only one writer at a time; readers come and go', () => {
  const directory = newDirectory();
  const run = openRun(directory, { mode: 'create' });
  expect(() => openRun(directory, { mode: 'resume' })).toThrow(
    new RegExp(`being written by process ${process.pid} on .* since `),
  );
  run.recordAction(1, sampleAction('1/t/0/0'));
  const reader = openRun(directory, { mode: 'read' });
  expect(reader.actionsOf(1)).toHaveLength(1);
  reader.close();
  run.close();
  openRun(directory, { mode: 'resume' }).close();
});

test('The lock of a living process holds and the lock of a killed one is gone', async () => {
  const directory = newDirectory();
  const script = `
    import { openRun } from ${JSON.stringify(new URL('./run-store.ts', import.meta.url).href)};
    // Kept reachable: a collected run is closed.
    globalThis.run = openRun(${JSON.stringify(directory)}, { mode: 'create' });
    process.stdout.write('open');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  expect(() => openRun(directory, { mode: 'resume' })).toThrow(`process ${child.pid} on`);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  openRun(directory, { mode: 'resume' }).close();
});

test('Files that are no run, another schema and a damaged file each get their sentence', () => {
  const directory = newDirectory();
  const run = openRun(directory, { mode: 'create' });
  for (let at = 0; at < 200; at++) run.recordAction(1, sampleAction(`1/t/${at}/0`));
  run.close();
  const path = join(directory, 'run.db');
  const whole = readFileSync(path);

  const edited = new DatabaseSync(path);
  edited.exec('PRAGMA user_version = 99');
  edited.close();
  expect(() => openRun(directory, { mode: 'read' })).toThrow('has schema 99');

  writeFileSync(path, whole);
  truncateSync(path, whole.length / 2);
  expect(() => openRun(directory, { mode: 'read' }).actionsOf(1)).toThrow('the file is damaged');

  writeFileSync(path, 'this is a text file and no database at all, which is longer than a header');
  expect(() => openRun(directory, { mode: 'read' })).toThrow('not a run database');
  expect(() => openRun(directory, { mode: 'resume' })).toThrow('not a run database');

  writeFileSync(path, '');
  const foreign = new DatabaseSync(path);
  foreign.exec('CREATE TABLE mine (x)');
  foreign.close();
  expect(() => openRun(directory, { mode: 'resume' })).toThrow('but not of a run');
});

const mayMount = spawnSync('unshare', ['-rm', 'true']).status === 0;

test.skipIf(!mayMount)(
  'A full disk is one sentence and leaves what was recorded (needs user namespaces)',
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'teamtune-full-'));
    const support = new URL('../../test/support/sample-run.ts', import.meta.url).href;
    const script = `
    import { openRun } from ${JSON.stringify(new URL('./run-store.ts', import.meta.url).href)};
    import { sampleAction } from ${JSON.stringify(support)};
    const run = openRun(${JSON.stringify(join(directory, 'run'))}, { mode: 'create' });
    let count = 0;
    try {
      for (;;) {
        run.recordAction(1, sampleAction('1/t/' + count + '/0', { text: 'x'.repeat(5000) }));
        count++;
      }
    } catch (error) {
      console.log(JSON.stringify({ count, stored: run.actionsOf(1).length, message: error.message }));
    }`;
    const program = join(mkdtempSync(join(tmpdir(), 'teamtune-child-')), 'child.mjs');
    writeFileSync(program, script);
    const shell = `mount -t tmpfs -o size=1m none ${directory} && exec ${process.execPath} ${program}`;
    const child = spawnSync('unshare', ['-rm', 'sh', '-c', shell], { encoding: 'utf8' });
    const result = JSON.parse(child.stdout) as { count: number; stored: number; message: string };
    expect(result.message).toContain('the disk is full: free some space');
    expect(result.count).toBeGreaterThan(10);
    expect(result.stored).toBe(result.count);
  },
);

test('A table exports as JSON Lines with numbers in place of blobs', () => {
  const directory = newDirectory();
  const run = openRun(directory, { mode: 'create' });
  run.recordAction(1, sampleAction('1/t/0/0'));
  const path = join(directory, 'actions.jsonl');
  run.exportJsonl('actions', path);
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    scope: '1',
    tokens: [7, 8, 2],
    tool_calls: [],
  });
  expect(() => run.exportJsonl('secrets', path)).toThrow('expected one of run, actions');
  run.close();
});

test('Summaries count per scope and agent, and failures by cause', () => {
  const run = openRun(newDirectory(), { mode: 'create' });
  const result = (status: 'ok' | 'timeout') =>
    ({ tool: 'python', status, output: '', durationMs: 1 }) as const;
  run.recordAction(1, sampleAction('1/t/0/0', { toolResults: [result('ok'), result('timeout')] }));
  run.recordAction(1, sampleAction('1/t/1/0'));
  run.recordFeedback({
    kind: 'scored',
    actionId: '1/t/0/0',
    score: 4,
    reason: '',
    blame: 'none',
  });
  run.recordFeedback({ kind: 'unscored', actionId: '1/t/1/0', cause: 'no reply' });
  expect(run.agentTotals()).toEqual([
    {
      scope: '1',
      agent: 'solver',
      actions: 2,
      tokens: 6,
      scored: 1,
      unscored: 1,
      points: 4,
      toolCalls: 2,
      toolSuccesses: 1,
    },
  ]);
  expect(run.countedCauses()).toEqual([
    { kind: 'coach', where: 'coach', cause: 'no reply', count: 1 },
    { kind: 'tool', where: 'python', cause: 'timeout', count: 1 },
  ]);
  run.close();
});

test('A run that is taken back leaves no folder of its own, and nothing that was there is touched', () => {
  const fresh = newDirectory();
  openRun(fresh, { mode: 'create' }).discard();
  expect(existsSync(fresh)).toBe(false);
  const used = mkdtempSync(join(tmpdir(), 'teamtune-run-'));
  writeFileSync(join(used, 'notes.txt'), 'mine');
  openRun(used, { mode: 'create' }).discard();
  expect(readFileSync(join(used, 'notes.txt'), 'utf8')).toBe('mine');
  expect(existsSync(join(used, 'run.db'))).toBe(false);
});
