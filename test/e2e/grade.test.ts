import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from '../support/run-cli.ts';

test('grade prints one JSON object for a table, whatever is wrong with it, and refuses bad answers', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'grade-'));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const answer = write('answer.csv', 'id,target\n1,0\n2,1\n3,1\n');
  const grade = (prediction: string, rest: readonly string[] = []) =>
    runCli([
      ...['grade', '--task', 'dsbench', '--prediction', prediction, '--answer', answer],
      ...['--metric', 'roc_auc', '--json', ...rest],
    ]);
  const good = write('good.csv', 'id,target\n3,0.9\n1,0.2\n2,0.1\n');
  expect((await grade(good)).stdout).toBe('{"success":true,"value":0.5,"reason":null}\n');
  const none = await grade(join(folder, 'none.csv'));
  expect(none).toMatchObject({
    code: 0,
    stdout: '{"success":false,"value":null,"reason":"submission: there is no such file"}\n',
  });
  const wrong = await grade(good, ['--metric', 'auk']);
  expect(wrong).toMatchObject({ code: 2, stdout: '' });
  const lacking = await grade(good, ['--answer', join(folder, 'lacking.csv')]);
  expect(lacking.code).toBe(2);
  expect(lacking.stderr).toContain('there is no such file');
  rmSync(folder, { recursive: true });
});
