import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sampleAction } from '../../test/support/sample-run.ts';
import { openRun } from './run-store.ts';

function newRun() {
  const directory = join(mkdtempSync(join(tmpdir(), 'teamtune-coach-records-')), 'run');
  const run = openRun(directory, { mode: 'create' });
  run.recordAction(1, sampleAction('1/t/0/0'));
  run.recordAction(2, sampleAction('2/t/0/0', { agent: 'verifier' }));
  return { directory, run, records: run.coachRecords };
}

test('Calls are summed by agent and step; a call whose end is not known counts with its bound', () => {
  const { directory, run, records } = newRun();
  const answered = records.start({ actionId: '1/t/0/0', model: 'm', usdBound: 0.5 });
  records.end(answered, { status: 'answered', inputTokens: 10, outputTokens: 3, usd: 0.125 });
  const refused = records.start({ actionId: '2/t/0/0', model: 'm', usdBound: 0.5 });
  records.end(refused, { status: 'failed', usd: 0 });
  records.start({ actionId: '2/t/0/0', model: 'm', usdBound: 0.25 });
  records.recordCached('1/t/0/0', 'm');
  records.start({ model: 'm', usdBound: 0.0625 });
  run.close();
  const again = openRun(directory, { mode: 'resume' });
  const first = { calls: 1, cached: 1, inputTokens: 10, outputTokens: 3, usd: 0.125 };
  expect(again.coachRecords.byAgent(1)).toEqual([{ agent: 'solver', ...first, usdUnknown: 0 }]);
  expect(again.coachRecords.byAgent().map(({ agent, calls }) => [agent, calls])).toEqual([
    ['solver', 1],
    ['verifier', 2],
  ]);
  const all = { ...first, calls: 4, usdUnknown: 0.3125 };
  expect(again.coachRecords.totals()).toEqual(all);
  again.close();
});

test('Money that was never priced is absent, not zero', () => {
  const { run, records } = newRun();
  records.end(records.start({ actionId: '1/t/0/0', model: 'm' }), { status: 'answered' });
  expect(records.totals()).not.toHaveProperty('usd');
  run.close();
});

test('What a play was shown stays as it was, also that there was nothing', () => {
  const { run, records } = newRun();
  records.recordShown('1/t/0/0', 'Seven of ten.');
  records.recordShown('2/t/0/0', undefined);
  records.recordShown('2/t/0/0', undefined);
  expect([...records.shownOf(1)]).toEqual([['1/t/0/0', 'Seven of ten.']]);
  expect([...records.shownOf(2)]).toEqual([['2/t/0/0', undefined]]);
  expect(() => records.recordShown('2/t/0/0', 'Nine.')).toThrow('another words');
  run.close();
});
