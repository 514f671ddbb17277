import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fillSampleRun, sampleAction } from '../../test/support/sample-run.ts';
import { openRun, type Run } from '../run/run-store.ts';
import { writeReport } from './report.ts';
import { gatherReport } from './report-numbers.ts';

function newRun(): Run {
  const directory = join(mkdtempSync(join(tmpdir(), 'teamtune-report-')), 'run');
  return openRun(directory, { mode: 'create' });
}

function pageOf(run: Run): string {
  const path = join(run.directory, 'report.html');
  writeReport(run, path);
  return readFileSync(path, 'utf8');
}

/** Records one play of two actions with given scores and outcome. */
function recordPlay(run: Run, scope: number | string, id: string, scores: readonly number[]): void {
  const actions = scores.map((_, turn) => sampleAction(`${id}/${turn}`));
  for (const [at, action] of actions.entries()) {
    run.recordAction(scope, action);
    const score = scores[at] ?? 0;
    run.recordFeedback({
      kind: 'scored',
      actionId: action.id,
      score,
      reason: `points ${score}`,
      blame: score < 5 ? 'self' : 'none',
    });
  }
  const [, taskId = ''] = id.split('/');
  run.recordTrajectory(scope, { id, taskId, sample: 0, actions, answer: '7' });
  run.recordOutcome({ trajectoryId: id, correct: (scores[0] ?? 0) >= 5 });
}

const hostile =
  '</script></style></pre><img src=x onerror=alert(1)>"\'><svg onload=alert(1)>\u0000';

test('Hostile text of agents, tools, coaches, tasks and the configuration stays text', () => {
  const run = newRun();
  run.setConfig({ [hostile]: hostile });
  const id = `1/${hostile.replaceAll('/', '')}/0`;
  const action = sampleAction(`${id}/0`, {
    agent: hostile,
    role: hostile,
    text: hostile,
    observationText: hostile,
    toolResults: [{ tool: hostile, status: 'ok', output: hostile, durationMs: 1 }],
  });
  run.recordAction(1, action);
  const trajectory = { id, taskId: hostile, sample: 0, actions: [action], answer: hostile };
  run.recordTrajectory(1, trajectory);
  const feedback = { kind: 'scored', actionId: action.id, score: 1, reason: hostile } as const;
  run.recordFeedback({ ...feedback, blame: 'upstream', blamedAgent: hostile });
  run.recordOutcome({ trajectoryId: id, correct: false, extracted: hostile });
  const failure = { boundary: 'tool', message: hostile };
  run.recordTrajectory(1, { id: '1/t/1', taskId: 't', sample: 1, actions: [], failure });
  run.completeStep(1, 'step-000001', { [`score/${hostile}`]: 1 });
  const page = pageOf(run);
  run.close();
  expect(page).toContain('&lt;/script&gt;&lt;/style&gt;');
  expect(page).not.toMatch(/<script|<img|<svg onload|onerror=alert\(1\)>/);
  expect(page.split('</style>')).toHaveLength(2);
  expect(page).not.toContain('\u0000');
});

test('The page loads nothing, runs nothing and has no unbalanced part', () => {
  const run = newRun();
  fillSampleRun(run, { steps: 8, plays: 8, heldOut: 20 });
  const page = pageOf(run);
  expect(page).toContain("default-src 'none'");
  expect(page).not.toMatch(/<script|<link|<img|src=|url\(|@import|https?:/);
  expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/);
  for (const tag of [
    'section',
    'figure',
    'svg',
    'table',
    'details',
    'article',
    'ol',
    'ul',
    'pre',
  ]) {
    const opened = page.match(new RegExp(`<${tag}[ >]`, 'g'))?.length ?? 0;
    expect([tag, page.split(`</${tag}>`).length - 1]).toEqual([tag, opened]);
  }
  for (const [svg] of page.matchAll(/<svg[^>]*>/g)) {
    expect(svg).toMatch(/role="img" aria-label="[^"]+"|aria-hidden="true"/);
  }
  // A report replaces the one before it and leaves nothing else beside it.
  writeReport(run, join(run.directory, 'report.html'));
  const names = readdirSync(run.directory).filter((name) => name.startsWith('report'));
  expect(names).toEqual(['report.html']);
  run.close();
});

test('The numbers are those of the run', () => {
  const run = newRun();
  for (const task of ['a', 'b', 'c', 'd']) {
    recordPlay(run, 'eval:base', `eval:base/${task}/0`, []);
    recordPlay(run, 'eval:trained', `eval:trained/${task}/0`, []);
    const row = { taskId: task, sample: 0, trajectoryId: `eval:base/${task}/0` };
    run.recordEvaluation('base', [{ ...row, correct: task === 'a' }]);
    const later = { ...row, trajectoryId: `eval:trained/${task}/0`, correct: task !== 'd' };
    run.recordEvaluation('trained', [later]);
  }
  recordPlay(run, 1, '1/x/0', [2, 4]);
  run.completeStep(1, 'step-000001', { 'kl/solver': 0.5, seconds: 30 });
  recordPlay(run, 2, '2/x/0', [8, 9]);
  run.completeStep(2, 'step-000002', { accuracy: 1, seconds: 31 });
  const report = gatherReport(run);
  const [heldOut] = report.heldOut;
  expect(heldOut?.evaluations.map(({ name, step }) => [name, step])).toEqual([
    ['base', 0],
    ['trained', 2],
  ]);
  expect(heldOut?.gain?.gain).toBe(0.5);
  expect(report.agents).toEqual([
    {
      agent: 'solver',
      actions: 4,
      firstScore: 3,
      lastScore: 8.5,
      scored: 1,
      tokensPerAction: 3,
    },
  ]);
  expect(report.scores[0]?.points).toEqual([
    { step: 1, value: 3 },
    { step: 2, value: 8.5 },
  ]);
  expect(report.diagnostics).toEqual({
    kl: [{ name: 'solver', points: [{ step: 1, value: 0.5 }] }],
  });
  expect(report.totals).toEqual({ plays: 2, actions: 4, tokens: 12, seconds: 61 });
  const page = pageOf(run);
  expect(page).toContain('teamtune run: 25.0 % to 75.0 %');
  expect(page).toContain('+50.0 points');
  run.close();
});

test('The examples are a blamed failure, the same task fixed, and a held-out task solved', () => {
  const run = newRun();
  fillSampleRun(run, { steps: 30, plays: 8, heldOut: 30 });
  const { examples } = gatherReport(run);
  const [early, fixed, trained] = examples;
  expect(examples).toHaveLength(3);
  expect(early?.outcome?.correct).toBe(false);
  expect(early?.why).toContain('traced the fault to solver');
  expect(fixed?.outcome?.correct).toBe(true);
  expect(fixed?.trajectory.taskId).toBe(early?.trajectory.taskId);
  expect(trained?.trajectory.id).toMatch(/^eval:trained\//);
  const page = pageOf(run);
  expect(page).toContain('Fault: solver');
  expect(page).toContain(early?.trajectory.answer);
  run.close();
});

test('Points without a word of the coach stand alone', () => {
  const run = newRun();
  const action = sampleAction('1/t/0/0');
  run.recordAction(1, action);
  const verdict = { kind: 'scored', actionId: action.id, score: 3 } as const;
  run.recordFeedback({ ...verdict, reason: '', blame: 'none' });
  run.recordTrajectory(1, { id: '1/t/0', taskId: 't', sample: 0, actions: [action] });
  run.recordOutcome({ trajectoryId: '1/t/0', correct: false });
  const page = pageOf(run);
  run.close();
  expect(page).toContain('<b>3</b> / 10');
  expect(page).not.toContain('<b>Coach:</b>');
});

test('Each held-out set has its own accuracy, and its own line over the steps', () => {
  const run = newRun();
  recordPlay(run, 1, '1/x/0', [5]);
  for (const [name, right] of [
    ['base@aime', 0],
    ['base@amc', 1],
    ['trained@aime', 1],
    ['trained@amc', 2],
  ] as const) {
    for (const at of [0, 1]) {
      const trajectoryId = `eval:${name}/t${at}/0`;
      recordPlay(run, `eval:${name}`, trajectoryId, []);
      run.recordEvaluation(name, [
        { taskId: `t${at}`, sample: 0, correct: at < right, trajectoryId },
      ]);
    }
  }
  const { heldOut } = gatherReport(run);
  expect(heldOut.map(({ set, gain }) => [set, gain?.gain])).toEqual([
    ['aime', 0.5],
    ['amc', 0.5],
  ]);
  const page = pageOf(run);
  expect(page).toContain('teamtune run: aime 0.0 % to 50.0 %, amc 50.0 % to 100.0 %');
  expect(page).toContain('Team accuracy on amc');
  expect(page).toContain('<th scope="col">amc</th>');
  run.close();
});

test('The audit shows slices and second verdicts, and says where a coach was asked twice', () => {
  const run = newRun();
  run.setConfig({ coach: 'first', coaching: { showAnswer: false, budget: {} } });
  run.rescores.claimLabel('again', { coach: 'first', coaching: { showAnswer: false } });
  run.rescores.claimLabel('sighted', { coach: 'first', coaching: { showAnswer: true } });
  run.rescores.claimLabel('other', { coach: 'other', coaching: { showAnswer: false } });
  for (let at = 0; at < 40; at++) {
    recordPlay(run, 1, `1/t${at}/0`, [at % 2 === 0 ? 4 : 6, 5]);
    const actionId = `1/t${at}/0/0`;
    const second = { kind: 'scored', actionId, score: at % 2 === 0 ? 5 : 7, reason: '' } as const;
    for (const label of ['again', 'other', 'sighted']) {
      run.rescores.recordSecond(label, { ...second, blame: 'none' });
    }
  }
  const page = pageOf(run);
  const audit = gatherReport(run).audit;
  run.close();
  expect(audit?.alarms).toEqual([]);
  expect(audit?.seconds).toMatchObject([
    { label: 'again', isRetest: true, agreement: { pairs: 40, withinOnePoint: { value: 1 } } },
    { coach: 'other', isRetest: false, agreement: { meanAbsoluteDifference: { value: 1 } } },
    { coach: 'first', isRetest: false },
  ]);
  expect(page).toContain('first asked again (again): its noise');
  expect(page).toContain('No alarm');
  expect(page).toContain('<span class="by">answer</span> right');
});

test('A run that has only begun gives a page that says so', () => {
  const run = newRun();
  expect(pageOf(run)).toContain('No evaluation is recorded yet');
  recordPlay(run, 0, '0/x/0', [5]);
  run.completeStep(0, 'step-000000');
  expect(pageOf(run)).not.toMatch(/NaN|Infinity|undefined/);
  run.close();
});

test('A report that cannot be written is one sentence', () => {
  const run = newRun();
  expect(() => writeReport(run, join(run.directory, 'run.db', 'report.html'))).toThrow(
    /report\.html was not written: /,
  );
  run.close();
});

test('The report says who coached, what it was shown, and what its calls cost by agent', () => {
  const run = newRun();
  run.setConfig({ coach: 'google/x', coaching: { showAnswer: ['verifier'], showOutcome: false } });
  run.recordAction(1, sampleAction('1/t/0/0'));
  run.recordAction(2, sampleAction('2/t/0/0'));
  for (const [actionId, usd] of [
    ['1/t/0/0', 0.25],
    ['2/t/0/0', 0.5],
  ] as const) {
    const call = run.coachRecords.start({ actionId, model: 'google/x', usdBound: 1 });
    run.coachRecords.end(call, { status: 'answered', inputTokens: 1200, outputTokens: 7, usd });
  }
  const { coaching } = gatherReport(run);
  expect(coaching?.agents).toEqual([
    expect.objectContaining({ agent: 'solver', calls: 2, inputTokens: 2400, usd: 0.75 }),
  ]);
  const page = pageOf(run);
  expect(page).toContain('shown the tasks’ ground truth for the actions of verifier');
  expect(page).toContain('<td>2,400</td><td>14</td><td>0.7500</td>');
  run.close();
});

test('A run of discussions shows who changed whose mind, turn by turn; another run says nothing of it', () => {
  const run = newRun();
  expect(pageOf(run)).not.toContain('changed whose mind');
  const rows = { ann: ['3', '7'], bob: ['7', '7'] };
  const answers = Object.entries(rows).flatMap(([agent, extracted], index) =>
    extracted.map((answer, turn) => {
      const action = sampleAction(`eval:base/t/0/${2 * index + turn}`, { agent });
      run.recordAction('eval:base', action);
      const isRight = answer === '7';
      return { actionId: action.id, agent, turn, extracted: answer, isRight };
    }),
  );
  run.discussions.record(answers);
  run.recordMetrics(1, { 'accuracy/turn-1': 0.5, 'accuracy/turn-2': 1, 'wrong-to-right': 0.5 });
  const page = pageOf(run);
  expect(page).toContain('Who changed whose mind');
  expect(page).toContain('Accuracy by turn');
  // bob's answer was taken by ann the one time they differed; ann's by bob never.
  expect(page).toContain('<th scope="row">bob</th><td>100.0 % of 1</td><td></td>');
  expect(page).toContain('<th scope="row">ann</th><td></td><td>0.0 % of 1</td>');
  expect(page).toContain('<td>50.0 %</td><td>0.0 %</td><td>50.0 %</td><td>0.0 %</td>');
});

test('A run that no coach judged says so, and claims nothing of one', () => {
  const run = newRun();
  run.setConfig({ name: 'quiet', coach: 'none' });
  for (const step of [1, 2]) {
    const action = sampleAction(`${step}/t/0/0`);
    run.recordAction(step, action);
    const id = `${step}/t/0`;
    run.recordTrajectory(step, { id, taskId: 't', sample: 0, actions: [action], answer: '7' });
    run.recordOutcome({ trajectoryId: id, correct: step === 2 });
    run.completeStep(step, `step-00000${step}`);
  }
  const page = pageOf(run);
  run.close();
  expect(page).toContain('<title>teamtune run quiet</title>');
  expect(page).toContain('report of the run quiet');
  expect(page).toContain('No coach scored their actions in this run.');
  expect(page).not.toContain('Mean coach score');
  expect(page).toContain('The team answered correctly.');
  expect(page).not.toContain('<h2>The coach</h2>');
});

test('A round of trees shows what each agent learned from, and an evaluation after a step without plays stands at it', () => {
  const run = newRun();
  recordPlay(run, 1, '1/t/0', [9]);
  const node = { value: 0.5, leaves: 2, isPositive: false, preferred: 1, rejected: 0 };
  run.trees.record([{ actionId: '1/t/0/0', ...node }]);
  run.completeStep(1, 'step-000001', {
    ...{ questions: 1, 'actions/solver': 8, 'examples/solver': 3, 'pairs/solver': 2 },
    'sft-loss/solver': 0.25,
  });
  const ratios = { 'chosen-log-ratio/solver': 0.125, 'rejected-log-ratio/solver': -1.5 };
  run.completeStep(2, 'step-000002', ratios);
  for (const name of ['base', 'trained']) {
    const trajectoryId = `eval:${name}/t/0`;
    recordPlay(run, `eval:${name}`, trajectoryId, []);
    run.recordEvaluation(name, [{ taskId: 't', sample: 0, correct: true, trajectoryId }]);
  }
  const report = gatherReport(run);
  const page = pageOf(run);
  run.close();
  expect(report.steps).toBe(2);
  expect(report.heldOut[0]?.evaluations.map(({ step }) => step)).toEqual([0, 2]);
  const cells = ['solver', '8', '–', '3', '0.250', '2', '–', '+0.13', '−1.50'];
  expect(page).toContain(
    `<th scope="row">1</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}`,
  );
});
