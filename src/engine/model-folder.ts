import { access, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BoundaryError } from '../errors.ts';
import { type ModelConfig, parseModelConfig, toHuggingFaceConfig } from './model-config.ts';
import {
  openSafetensors,
  readStoredTensor,
  type SafetensorsFile,
  type StoredTensor,
  writeSafetensors,
  writeTextAside,
} from './safetensors.ts';

/** A checked Hugging Face folder; every weight of `expectedWeights` can be read from it. */
export type ModelFolder = {
  readonly directory: string;
  readonly config: ModelConfig;
  readonly read: (name: string) => Promise<StoredTensor>;
};

/** Name → shape of every weight of a model, by the names that transformers gives them. */
export function expectedWeights(config: ModelConfig): ReadonlyMap<string, readonly number[]> {
  const { hiddenSize } = config;
  const weights = new Map<string, readonly number[]>();
  weights.set('model.embed_tokens.weight', [config.vocabSize, hiddenSize]);
  for (let layer = 0; layer < config.layers; layer++) addLayer(weights, config, layer);
  weights.set('model.norm.weight', [hiddenSize]);
  if (!config.tieWordEmbeddings) weights.set('lm_head.weight', [config.vocabSize, hiddenSize]);
  return weights;
}

function addLayer(weights: Map<string, readonly number[]>, config: ModelConfig, layer: number) {
  const prefix = `model.layers.${layer}`;
  const { hiddenSize, headDim } = config;
  weights.set(`${prefix}.input_layernorm.weight`, [hiddenSize]);
  weights.set(`${prefix}.post_attention_layernorm.weight`, [hiddenSize]);
  for (const [module, shape] of linearShapes(config)) {
    weights.set(`${prefix}.${module}.weight`, shape);
  }
  if (config.attentionBias) {
    weights.set(`${prefix}.self_attn.q_proj.bias`, [config.heads * headDim]);
    weights.set(`${prefix}.self_attn.k_proj.bias`, [config.keyValueHeads * headDim]);
    weights.set(`${prefix}.self_attn.v_proj.bias`, [config.keyValueHeads * headDim]);
  }
  if (config.outputBias) weights.set(`${prefix}.self_attn.o_proj.bias`, [hiddenSize]);
  if (config.qkNorm) {
    weights.set(`${prefix}.self_attn.q_norm.weight`, [headDim]);
    weights.set(`${prefix}.self_attn.k_norm.weight`, [headDim]);
  }
}

/** Module of one layer → [outputs, inputs] of its matrix. */
export function linearShapes(config: ModelConfig): ReadonlyMap<string, readonly [number, number]> {
  const { hiddenSize, intermediateSize, headDim } = config;
  return new Map([
    ['self_attn.q_proj', [config.heads * headDim, hiddenSize]],
    ['self_attn.k_proj', [config.keyValueHeads * headDim, hiddenSize]],
    ['self_attn.v_proj', [config.keyValueHeads * headDim, hiddenSize]],
    ['self_attn.o_proj', [hiddenSize, config.heads * headDim]],
    ['mlp.gate_proj', [intermediateSize, hiddenSize]],
    ['mlp.up_proj', [intermediateSize, hiddenSize]],
    ['mlp.down_proj', [hiddenSize, intermediateSize]],
  ]);
}

/**
 * Opens a folder with `config.json` and `model.safetensors`, or shards named by `model.safetensors.index.json`.
 *
 * @throws BoundaryError("engine") naming every weight that is missing, superfluous or of another shape
 */
export async function openModelFolder(directory: string): Promise<ModelFolder> {
  const configPath = join(directory, 'config.json');
  const config = parseModelConfig(await readJson(configPath), configPath);
  const fileOfWeight = await openWeightFiles(directory);
  checkWeights(fileOfWeight, config, directory);
  const read = (name: string): Promise<StoredTensor> => {
    const file = fileOfWeight.get(name);
    if (file === undefined) {
      throw new BoundaryError('engine', `${directory} has no weight named ${name}`);
    }
    return readStoredTensor(file, name);
  };
  return { directory, config, read };
}

/** Reads a JSON file of a model or adapter folder. */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new BoundaryError('engine', `Cannot read ${path}; expected a JSON file there`, { cause });
  }
}

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

async function openWeightFiles(directory: string): Promise<ReadonlyMap<string, SafetensorsFile>> {
  const indexPath = join(directory, 'model.safetensors.index.json');
  if (!(await isPresent(indexPath))) {
    const file = await openSafetensors(join(directory, 'model.safetensors'));
    return new Map([...file.entries.keys()].map((name) => [name, file]));
  }
  const index = indexSchema.safeParse(await readJson(indexPath));
  if (!index.success) {
    throw new BoundaryError('engine', `${indexPath}: expected an object with weight_map`);
  }
  const shards = new Map<string, SafetensorsFile>();
  for (const shard of new Set(Object.values(index.data.weight_map))) {
    shards.set(shard, await openSafetensors(join(directory, shard)));
  }
  const fileOfWeight = new Map<string, SafetensorsFile>();
  for (const [name, shard] of Object.entries(index.data.weight_map)) {
    const file = shards.get(shard);
    // A weight that the index promises and its shard lacks is reported as missing by `checkWeights`.
    if (file?.entries.has(name)) fileOfWeight.set(name, file);
  }
  return fileOfWeight;
}

async function isPresent(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

function checkWeights(
  files: ReadonlyMap<string, SafetensorsFile>,
  config: ModelConfig,
  directory: string,
): void {
  const expected = expectedWeights(config);
  const faults: string[] = [];
  for (const [name, shape] of expected) {
    const found = files.get(name)?.entries.get(name)?.shape;
    if (found === undefined) faults.push(`${name} is missing`);
    else if (found.join() !== shape.join()) {
      faults.push(`${name} is [${found.join(', ')}], expected [${shape.join(', ')}]`);
    }
  }
  for (const name of files.keys()) {
    if (!expected.has(name) && !isHarmless(name)) faults.push(`${name} is not part of this model`);
  }
  if (faults.length > 0) throw new BoundaryError('engine', describeFaults(directory, faults));
}

/** Tied heads and rotary tables are stored by some writers although they follow from the rest. */
function isHarmless(name: string): boolean {
  return name === 'lm_head.weight' || name.endsWith('.rotary_emb.inv_freq');
}

/** "<where>: weights do not fit …", naming at most eight of them. */
export function describeFaults(where: string, faults: readonly string[]): string {
  const shown = faults.slice(0, 8).join('; ');
  const rest = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
  return `${where}: the weights do not fit the configuration: ${shown}${rest}`;
}

/**
 * Writes `config.json` and `model.safetensors` as transformers loads them; other files of the folder stay.
 *
 * @param weights one entry for each of `expectedWeights`
 */
export async function saveModelFolder(
  directory: string,
  config: ModelConfig,
  weights: ReadonlyMap<string, StoredTensor>,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const text = JSON.stringify(toHuggingFaceConfig(config), undefined, 2);
  await writeTextAside(join(directory, 'config.json'), `${text}\n`);
  await writeSafetensors(join(directory, 'model.safetensors'), weights);
}
