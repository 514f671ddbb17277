import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRun } from '../../src/run/run-store.ts';
import { migrations, tables } from '../../src/run/schema.ts';
import { runCli } from '../support/run-cli.ts';
import { fillSampleRun } from '../support/sample-run.ts';

const source = fileURLToPath(new URL('../../src/', import.meta.url));
const sizes = { steps: 12, plays: 32, heldOut: 4 };
let folder: string;
let run: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-rescore-'));
  run = join(folder, 'run');
  const record = openRun(run, { mode: 'create' });
  fillSampleRun(record, sizes);
  record.close();
  const config = `
    import { defineRun } from '${source}config/schema.ts';
    import { defineTeam } from '${source}rollout/team.ts';
    const agents = { solver: { role: 'Solver', maxTokens: 8 } };
    const team = defineTeam({ name: 'one', agents, play: async () => '' });
    const coach = ({ action }) => ({ score: action.text.length % 11, reason: 'by length' });
    export default defineRun({ name: 'second', team, coach, model: { path: 'none' }, tasks: { train: 'none' } });`;
  await writeFile(join(folder, 'second.config.ts'), config);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const rescore = (...args: readonly string[]) => runCli(['rescore', run, ...args]);

test('more than a thousand stored actions are scored again and credited anew without a model', async () => {
  const args = ['--coach', join(folder, 'second.config.ts'), '--as', 'by-length'];
  const { code, stdout, stderr } = await rescore(...args, '--json');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const result = JSON.parse(stdout);
  expect(result.actions).toBeGreaterThanOrEqual(1000);
  expect(result).toMatchObject({ coach: 'by-length', first: 'sample', asked: result.actions });
  expect(Object.keys(result.agents)).toEqual(['solver', 'executor', 'verifier']);
  const again = await rescore(...args);
  expect(again.stdout).toContain(`(0 asked now, ${result.actions} known); nothing was generated`);
  expect(again.stdout).toMatch(/^solver +\d+ +\d/m);
  const mixed = await rescore(...args, '--set', 'coaching.showAnswer=true');
  expect(mixed.code).toBe(2);
  expect(mixed.stderr).toContain('coaching.showAnswer was false, is true): choose another label');
  const credit = await rescore('--credit', 'outcome', '--estimator', 'rloo');
  expect(credit.code, credit.stderr).toBe(0);
  expect(credit.stdout).toMatch(/^executor +\d+ +0\.\d\d \[/m);
  const backedUp = await rescore('--credit', 'malt');
  expect(backedUp.code, backedUp.stderr).toBe(0);
  expect(backedUp.stdout).toMatch(/^executor +\d+ +0\.\d\d \[/m);
}, 60_000);

test('a run of the first schema is brought to the present one, and what it lacks is said', async () => {
  const database = new DatabaseSync(join(run, 'run.db'));
  // Last made, first dropped: rows refer to earlier tables only.
  const later = tables.slice(tables.indexOf('tasks')).toReversed();
  for (const table of later) database.exec(`DROP TABLE ${table}`);
  const added = /ALTER TABLE (\w+) ADD COLUMN (\w+)/g;
  for (const [, table = '', column] of Object.values(migrations).join('\n').matchAll(added)) {
    if (!later.some((one) => one === table))
      database.exec(`ALTER TABLE ${table} DROP COLUMN ${column}`);
  }
  database.exec('PRAGMA user_version = 1');
  database.close();
  expect((await runCli(['report', run])).code).toBe(0);
  const { code, stderr } = await rescore('--credit', 'outcome');
  expect(code).toBe(3);
  expect(stderr).toContain('has no reference log-probabilities of step 1');
}, 60_000);

test.each([
  [[], 2, 'expected --coach, --credit or --estimator'],
  [['--credit', 'both'], 2, '--credit: expected coach, mappa, outcome, maporl, malt, got both'],
  [['--coach', 'google'], 2, 'coach: expected a model name'],
  [['--credit', 'coach', '--as', 'nobody'], 2, 'has no second verdicts of "nobody"'],
])('%j is refused in one sentence', async (args, code, sentence) => {
  const result = await rescore(...args);
  expect(result.stderr).toContain(sentence);
  expect(result.code).toBe(code);
  expect(result.stderr.trim().split('\n')).toHaveLength(1);
});
