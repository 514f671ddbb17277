import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  checkpointsDirectory,
  latestCheckpoint,
  listCheckpoints,
  removeUnfinishedCheckpoints,
} from './checkpoint-directory.ts';
import { restoreCheckpoint } from './restore-checkpoint.ts';
import { saveCheckpoint } from './save-checkpoint.ts';

const newDirectory = () => mkdtempSync(join(tmpdir(), 'teamtune-checkpoint-'));

/** Writes one agent's folder, as an engine does. */
const writeAgent = (content: string) => async (directory: string) => {
  mkdirSync(join(directory, 'solver'));
  writeFileSync(join(directory, 'solver', 'adapter_model.safetensors'), content);
};

async function saved(directory: string, step: number, content = `weights ${step}`) {
  return saveCheckpoint({
    directory,
    step,
    keep: 2,
    write: writeAgent(content),
    configHash: 'abc',
  });
}

test('A saved checkpoint restores with its step, and the two newest stay', async () => {
  const directory = newDirectory();
  for (const step of [9, 10, 11]) await saved(directory, step);
  expect(readdirSync(checkpointsDirectory(directory)).sort()).toEqual([
    'step-000010',
    'step-000011',
  ]);
  const latest = latestCheckpoint(directory);
  const { manifest } = await restoreCheckpoint(latest?.directory ?? '');
  expect(manifest.step).toBe(11);
  expect(manifest.configHash).toBe('abc');
  expect(manifest.files).toEqual({
    'solver/adapter_model.safetensors': {
      bytes: 10,
      // printf 'weights 11' | sha256sum
      sha256: '26122671d4644739713ece16b8871320f3f028214ea951b6f85bf02dd33d62d0',
    },
  });
});

test('A checkpoint that was never recorded as a step is passed over and replaced', async () => {
  const directory = newDirectory();
  await saved(directory, 1);
  await saved(directory, 2, 'of a killed process');
  expect(latestCheckpoint(directory, { upTo: 1 })?.step).toBe(1);
  await saved(directory, 2, 'again');
  const { manifest } = await restoreCheckpoint(latestCheckpoint(directory)?.directory ?? '');
  expect(manifest.files['solver/adapter_model.safetensors']?.bytes).toBe(5);
  expect(listCheckpoints(directory).map(({ step }) => step)).toEqual([1, 2]);
});

test('A missing, cut or altered file is named, and so is a missing manifest', async () => {
  const directory = newDirectory();
  const { directory: checkpoint } = await saved(directory, 1, '12345');
  const file = join(checkpoint, 'solver', 'adapter_model.safetensors');
  writeFileSync(file, '1234');
  await expect(restoreCheckpoint(checkpoint)).rejects.toThrow(
    'solver/adapter_model.safetensors has 4 bytes, expected 5',
  );
  writeFileSync(file, '12346');
  await expect(restoreCheckpoint(checkpoint)).rejects.toThrow('safetensors was altered');
  rmSync(file);
  await expect(restoreCheckpoint(checkpoint)).rejects.toThrow('safetensors cannot be read');
  writeFileSync(join(checkpoint, 'manifest.json'), '{"step": ');
  await expect(restoreCheckpoint(checkpoint)).rejects.toThrow('has no usable manifest.json');
  rmSync(join(checkpoint, 'manifest.json'));
  await expect(restoreCheckpoint(checkpoint)).rejects.toThrow(
    `there is no checkpoint in ${checkpoint} (expected a manifest.json in it)`,
  );
});

test('A write that fails leaves nothing and passes its error on', async () => {
  const directory = newDirectory();
  await saved(directory, 1);
  const write = async (folder: string) => {
    await writeAgent('half')(folder);
    throw new Error('engine broke');
  };
  await expect(saveCheckpoint({ directory, step: 2, keep: 2, write })).rejects.toThrow(
    'engine broke',
  );
  expect(readdirSync(checkpointsDirectory(directory))).toEqual(['step-000001']);
});

test('Leftovers of a killed process are ignored by readers and removed on resume', async () => {
  const directory = newDirectory();
  await saved(directory, 1);
  const leftover = join(checkpointsDirectory(directory), 'step-000002.tmp-99-0');
  mkdirSync(leftover);
  writeFileSync(join(leftover, 'manifest.json'), '{}');
  expect(latestCheckpoint(directory)?.step).toBe(1);
  removeUnfinishedCheckpoints(directory);
  expect(existsSync(leftover)).toBe(false);
  expect(latestCheckpoint(directory)?.step).toBe(1);
});

test('Fewer than two kept checkpoints are refused', async () => {
  const options = { directory: newDirectory(), step: 1, write: writeAgent('x') };
  await expect(saveCheckpoint({ ...options, keep: 1 })).rejects.toThrow('at least 2, got 1');
});

const mayMount = spawnSync('unshare', ['-rm', 'true']).status === 0;

test.skipIf(!mayMount)(
  'A full disk is one sentence and leaves no half checkpoint (needs user namespaces)',
  () => {
    const directory = newDirectory();
    const program = join(newDirectory(), 'child.mjs');
    writeFileSync(
      program,
      `
    import { readdirSync, writeFileSync } from 'node:fs';
    import { saveCheckpoint } from ${JSON.stringify(new URL('./save-checkpoint.ts', import.meta.url).href)};
    const directory = ${JSON.stringify(directory)};
    const save = (step, bytes) => saveCheckpoint({ directory, step, keep: 2,
      write: async (folder) => writeFileSync(folder + '/weights', Buffer.alloc(bytes)) });
    await save(1, 100_000);
    const message = await save(2, 2_000_000).catch((error) => error.message);
    console.log(JSON.stringify({ message, names: readdirSync(directory + '/checkpoints') }));`,
    );
    const shell = `mount -t tmpfs -o size=1m none ${directory} && exec ${process.execPath} ${program}`;
    const child = spawnSync('unshare', ['-rm', 'sh', '-c', shell], { encoding: 'utf8' });
    const result = JSON.parse(child.stdout) as { message: string; names: string[] };
    expect(result.message).toContain('was not saved: the disk is full');
    expect(result.names).toEqual(['step-000001']);
  },
);
