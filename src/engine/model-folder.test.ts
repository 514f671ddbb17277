import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadAdapterFolder, saveAdapterFolder } from './adapter-folder.ts';
import { expectedWeights, openModelFolder, readJson, saveModelFolder } from './model-folder.ts';
import { elementCount, type StoredTensor, storeFloat32, toFloat32 } from './safetensors.ts';

const fixtures = fileURLToPath(new URL('../../test/parity/fixtures/', import.meta.url));

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'teamtune-model-'));
});

afterEach(() => rm(directory, { recursive: true }));

/** The weights of a fixture, to write them back changed. */
async function weightsOf(name: string): Promise<Map<string, StoredTensor>> {
  const folder = await openModelFolder(join(fixtures, name));
  const weights = new Map<string, StoredTensor>();
  for (const weight of expectedWeights(folder.config).keys()) {
    weights.set(weight, await folder.read(weight));
  }
  return weights;
}

describe('openModelFolder', () => {
  it('reads a sharded folder as it reads a single file', async () => {
    const folder = await openModelFolder(join(fixtures, 'qwen2'));
    for (const [name, shape] of expectedWeights(folder.config)) {
      const stored = await folder.read(name);
      expect(stored.shape).toEqual(shape);
      expect(toFloat32(stored).length).toBe(elementCount(shape));
    }
  });

  it('gives back what was saved', async () => {
    const weights = await weightsOf('qwen2');
    const { config } = await openModelFolder(join(fixtures, 'qwen2'));
    await saveModelFolder(directory, config, weights);
    const folder = await openModelFolder(directory);
    expect(folder.config).toEqual(config);
    for (const [name, stored] of weights) expect(await folder.read(name)).toEqual(stored);
  });

  it('names weights that are missing, superfluous or of another shape', async () => {
    const weights = await weightsOf('qwen3');
    const { config } = await openModelFolder(join(fixtures, 'qwen3'));
    weights.delete('model.norm.weight');
    weights.set('model.layers.0.self_attn.q_norm.weight', storeFloat32(new Float32Array(8), [8]));
    weights.set('model.layers.7.mlp.up_proj.weight', storeFloat32(new Float32Array(2), [2]));
    await saveModelFolder(directory, config, weights);
    const message = await openModelFolder(directory).catch(String);
    expect(message).toContain('model.norm.weight is missing');
    expect(message).toContain('model.layers.0.self_attn.q_norm.weight is [8], expected [16]');
    expect(message).toContain('model.layers.7.mlp.up_proj.weight is not part of this model');
  });

  it('takes a tied model that also stores its head', async () => {
    const weights = await weightsOf('qwen3');
    const { config } = await openModelFolder(join(fixtures, 'qwen3'));
    weights.set('lm_head.weight', storeFloat32(new Float32Array(128 * 32), [128, 32]));
    await saveModelFolder(directory, config, weights);
    await expect(openModelFolder(directory)).resolves.toBeDefined();
  });

  it('says which shard or file is not there', async () => {
    await cp(join(fixtures, 'qwen2'), directory, { recursive: true });
    await rm(join(directory, 'model-00002-of-00003.safetensors'));
    await expect(openModelFolder(directory)).rejects.toThrow(/model-00002-of-00003/);
    await rm(join(directory, 'config.json'));
    await expect(openModelFolder(directory)).rejects.toThrow(/Cannot read .*config\.json/);
  });
});

describe('loadAdapterFolder', () => {
  it('reads what peft wrote and writes it back', async () => {
    const { config } = await openModelFolder(join(fixtures, 'llama'));
    const adapter = await loadAdapterFolder(join(fixtures, 'llama', 'adapter'), config);
    expect([adapter.rank, adapter.alpha, adapter.modules.size]).toEqual([4, 8, 14]);
    await saveAdapterFolder(directory, adapter, 'llama');
    expect(await loadAdapterFolder(directory, config)).toEqual(adapter);
  });

  it('refuses an adapter of another model and names the modules', async () => {
    const { config } = await openModelFolder(join(fixtures, 'llama'));
    const loading = loadAdapterFolder(join(fixtures, 'qwen3', 'adapter'), config);
    await expect(loading).rejects.toThrow(
      /model\.layers\.0\.self_attn\.k_proj\.lora_B is \[32, 4\], expected \[16, 4\]/,
    );
  });

  it.each([
    [{ use_dora: true }, /use_dora is not supported/],
    [{ peft_type: 'IA3' }, /peft_type IA3/],
    [{ r: 8 }, /lora_A is \[4, 32\], expected \[8, 32\]/],
    [{ rank_pattern: { q_proj: 2 } }, /rank_pattern is not supported/],
    [{ r: 'four' }, /r: /],
  ])('refuses %j', async (change, message) => {
    const { config } = await openModelFolder(join(fixtures, 'llama'));
    await cp(join(fixtures, 'llama', 'adapter'), directory, { recursive: true });
    const path = join(directory, 'adapter_config.json');
    await writeFile(path, JSON.stringify({ ...((await readJson(path)) as object), ...change }));
    await expect(loadAdapterFolder(directory, config)).rejects.toThrow(message);
  });
});
