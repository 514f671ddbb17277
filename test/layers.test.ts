import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const depcruise = join(root, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs');
const execute = promisify(execFile);
let house = '';

beforeEach(async () => {
  house = await mkdtemp(join(tmpdir(), 'teamtune-layers-'));
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.json', 'package.json']) {
    await copyFile(join(root, file), join(house, file));
  }
  await symlink(join(root, 'node_modules'), join(house, 'node_modules'));
});

afterEach(() => rm(house, { recursive: true, force: true }));

/** Writes a small house under src/ and returns who breaks which rule, as "file: rule", sorted. */
async function violations(files: Readonly<Record<string, string>>): Promise<readonly string[]> {
  for (const [path, text] of Object.entries(files)) {
    const file = join(house, 'src', path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  const args = [depcruise, '--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'src'];
  const { stdout } = await execute(process.execPath, args, { cwd: house }).catch((error) => error);
  const report: {
    summary: { violations: readonly { from: string; rule: { name: string } }[] };
  } = JSON.parse(stdout);
  return report.summary.violations
    .map(({ from, rule }) => `${from.replace('src/', '')}: ${rule.name}`)
    .sort();
}

const noun = 'export type Noun = { readonly id: string };\n';
const uses = (path: string) =>
  `import type { Noun as Below } from '${path}';\nexport type Noun = Below;\n`;

test('lower floors, the engine for the service and the sandbox for a tool, may be imported', async () => {
  const found = await violations({
    'types/noun.ts': noun,
    'engine/tensor.ts': uses('../types/noun.ts'),
    'engine/native.ts':
      "import { createRequire } from 'node:module';\nexport const r = createRequire;\n",
    'service/local/service.ts': uses('../../engine/tensor.ts'),
    'sandbox/sandbox.ts': uses('../types/noun.ts'),
    'tools/tool.ts': uses('../sandbox/sandbox.ts'),
    'coach/coach.ts': uses('../types/noun.ts'),
    'methods/method.ts': uses('../coach/coach.ts'),
    'commands/train.ts': uses('../methods/method.ts'),
  });
  expect(found).toEqual([]);
});

test('each forbidden import is reported by name', async () => {
  const found = await violations({
    'coach/noun.ts': noun,
    'service/noun.ts': noun,
    'sandbox/noun.ts': noun,
    'credit/noun.ts': noun,
    'run/noun.ts': noun,
    'config/noun.ts': noun,
    'types/knows-a-room.ts': uses('../coach/noun.ts'),
    'engine/knows-the-service.ts': uses('../service/noun.ts'),
    'tools/knows-a-stranger.ts': uses('../run/noun.ts'),
    'coach/knows-a-stranger.ts': uses('../credit/noun.ts'),
    'credit/knows-the-run.ts': uses('../run/noun.ts'),
    'methods/knows-the-config.ts': uses('../config/noun.ts'),
    'dashboard/knows-a-coach.ts': uses('../coach/noun.ts'),
    'engine/loads.ts':
      "import { createRequire } from 'node:module';\nexport const r = createRequire;\n",
    'task/one.ts': "import type { B } from './two.ts';\nexport type A = B | 1;\n",
    'task/two.ts': "import type { A } from './one.ts';\nexport type B = A | 2;\n",
    'utils/nobody-imports-me.ts': noun,
  });
  expect(found).toEqual([
    'coach/knows-a-stranger.ts: floor-2-coach',
    'credit/knows-the-run.ts: floor-2-credit',
    'dashboard/knows-a-coach.ts: floor-5-dashboard',
    'engine/knows-the-service.ts: floor-1-engine',
    'engine/loads.ts: only-native-ts-makes-a-require',
    'methods/knows-the-config.ts: floor-3-methods',
    'task/one.ts: no-cycles',
    'tools/knows-a-stranger.ts: floor-1-tools',
    'types/knows-a-room.ts: floor-0-types',
    'utils/nobody-imports-me.ts: no-orphan-without-a-floor',
  ]);
});
