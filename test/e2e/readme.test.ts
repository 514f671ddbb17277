import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeRandomModel } from '../support/make-random-model.ts';
import { runCli } from '../support/run-cli.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;

beforeAll(async () => {
  // Inside the project, where the package finds itself by its name as an installed one would be found.
  await mkdir(join(root, '.teamtune'), { recursive: true });
  folder = await mkdtemp(join(root, '.teamtune', 'readme-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('the config that the README shows trains, with another model, tasks and coach', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  const config = join(folder, 'teamtune.config.ts');
  // The README's coach needs a key; a function is one of the ways the README names.
  await writeFile(
    config,
    example.replace(/coach: '.*',/, 'coach: ({ action }) => action.tokens.length % 11,'),
  );
  const tasks = join(folder, 'tasks.json');
  await writeFile(tasks, JSON.stringify([{ prompt: 'What is 1 + 1?', answer: '2' }]));
  await makeRandomModel(join(folder, 'model'));
  const sets = [
    ...[`model.path=${join(folder, 'model')}`, `tasks.train=${tasks}`, `tasks.heldOut=${tasks}`],
    ...['training.steps=1', 'rollout.tasksPerStep=2', 'rollout.maxActionTokens=16'],
  ].flatMap((set) => ['--set', set]);
  const output = join(folder, 'run');
  const { code, stdout, stderr } = await runCli(['train', config, '--output', output, ...sets]);
  expect(stderr).toBe('');
  expect(code, stdout).toBe(0);
  // One task twice over: the overlap of training and held-out tasks is told.
  expect(stdout).toContain('1 of 1 held-out tasks are also training tasks');
  expect(stdout).toMatch(/step 1\/1 +team/);
});

test('every page that the README links to is there', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const links = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, link]) => link as string);
  expect(links.length).toBeGreaterThan(5);
  for (const link of links) {
    await expect(access(join(root, link)), link).resolves.toBeUndefined();
  }
});
