import { join } from 'node:path';
import { z } from 'zod';
import { BoundaryError } from '../errors.ts';
import type { ModelConfig } from './model-config.ts';
import { describeFaults, linearShapes, readJson } from './model-folder.ts';
import {
  openSafetensors,
  readStoredTensor,
  type SafetensorsFile,
  type StoredTensor,
  storeFloat32,
  toFloat32,
  writeSafetensors,
  writeTextAside,
} from './safetensors.ts';

/** The pair of one linear module: its output gains (alpha / rank) · B · A · input. */
export type StoredLora = {
  /** [rank, inputs] */
  readonly a: Float32Array;
  /** [outputs, rank] */
  readonly b: Float32Array;
};

/** A LoRA adapter outside the engine, float32. */
export type StoredAdapter = {
  readonly rank: number;
  readonly alpha: number;
  /** Module path, for example `model.layers.0.self_attn.q_proj`, → its pair. */
  readonly modules: ReadonlyMap<string, StoredLora>;
};

const adapterConfigSchema = z.looseObject({
  peft_type: z.string(),
  r: z.number().int().positive(),
  lora_alpha: z.number().positive(),
  target_modules: z.union([z.array(z.string()), z.string()]),
  bias: z.string().nullish(),
  use_dora: z.boolean().nullish(),
  use_rslora: z.boolean().nullish(),
  lora_bias: z.boolean().nullish(),
  fan_in_fan_out: z.boolean().nullish(),
  rank_pattern: z.record(z.string(), z.unknown()).nullish(),
  alpha_pattern: z.record(z.string(), z.unknown()).nullish(),
  modules_to_save: z.array(z.string()).nullish(),
});

type AdapterConfig = z.infer<typeof adapterConfigSchema>;

const prefix = 'base_model.model.';

/**
 * Reads a PEFT LoRA folder and checks it against the model it is meant for.
 *
 * @throws BoundaryError("engine") for other kinds of adapters and for tensors that do not fit the model
 */
export async function loadAdapterFolder(
  directory: string,
  config: ModelConfig,
): Promise<StoredAdapter> {
  const configPath = join(directory, 'adapter_config.json');
  const adapterConfig = parseAdapterConfig(await readJson(configPath), configPath);
  const weightsPath = join(directory, 'adapter_model.safetensors');
  const file = await openSafetensors(weightsPath);
  const paths = modulePaths([...file.entries.keys()], weightsPath);
  checkModules(file, paths, { model: config, rank: adapterConfig.r });
  const read = async (path: string, side: string) =>
    toFloat32(await readStoredTensor(file, `${prefix}${path}.lora_${side}.weight`));
  const modules = new Map<string, StoredLora>();
  for (const path of paths) {
    modules.set(path, { a: await read(path, 'A'), b: await read(path, 'B') });
  }
  return { rank: adapterConfig.r, alpha: adapterConfig.lora_alpha, modules };
}

function checkModules(
  file: SafetensorsFile,
  paths: readonly string[],
  { model, rank }: { readonly model: ModelConfig; readonly rank: number },
): void {
  const linears = linearsOfModel(model);
  const faults = paths.flatMap((path) => {
    const linear = linears.get(path);
    if (linear === undefined) return [`${path} is not a linear module of this model`];
    return [
      ...shapeFault(file, `${path}.lora_A`, [rank, linear[1]]),
      ...shapeFault(file, `${path}.lora_B`, [linear[0], rank]),
    ];
  });
  if (faults.length > 0) throw new BoundaryError('engine', describeFaults(file.path, faults));
}

function shapeFault(
  file: SafetensorsFile,
  name: string,
  expected: readonly number[],
): readonly string[] {
  const found = file.entries.get(`${prefix}${name}.weight`)?.shape;
  if (found?.join() === expected.join()) return [];
  const what = found === undefined ? 'missing' : `[${found.join(', ')}]`;
  return [`${name} is ${what}, expected [${expected.join(', ')}]`];
}

function parseAdapterConfig(json: unknown, where: string): AdapterConfig {
  const parsed = adapterConfigSchema.safeParse(json);
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new BoundaryError('engine', `${where} is not a PEFT configuration: ${issues.join('; ')}`);
  }
  const config = parsed.data;
  const unsupported: Readonly<Record<string, boolean>> = {
    [`peft_type ${config.peft_type} (expected LORA)`]: config.peft_type !== 'LORA',
    [`bias "${config.bias}" (expected "none")`]: (config.bias ?? 'none') !== 'none',
    use_dora: config.use_dora === true,
    use_rslora: config.use_rslora === true,
    lora_bias: config.lora_bias === true,
    fan_in_fan_out: config.fan_in_fan_out === true,
    rank_pattern: Object.keys(config.rank_pattern ?? {}).length > 0,
    alpha_pattern: Object.keys(config.alpha_pattern ?? {}).length > 0,
    modules_to_save: (config.modules_to_save ?? []).length > 0,
  };
  for (const [what, present] of Object.entries(unsupported)) {
    if (present) throw new BoundaryError('engine', `${where}: ${what} is not supported`);
  }
  return config;
}

/** Module path → [outputs, inputs] over all layers. */
function linearsOfModel(config: ModelConfig): ReadonlyMap<string, readonly [number, number]> {
  const linears = new Map<string, readonly [number, number]>();
  for (let layer = 0; layer < config.layers; layer++) {
    for (const [module, shape] of linearShapes(config)) {
      linears.set(`model.layers.${layer}.${module}`, shape);
    }
  }
  return linears;
}

function modulePaths(names: readonly string[], where: string): readonly string[] {
  const paths = new Set<string>();
  for (const name of names) {
    const match = /^base_model\.model\.(.+)\.lora_[AB]\.weight$/.exec(name);
    if (match?.[1] === undefined) {
      throw new BoundaryError(
        'engine',
        `${where}: expected names like ${prefix}model.layers.0.self_attn.q_proj.lora_A.weight, got ${name}`,
      );
    }
    paths.add(match[1]);
  }
  if (paths.size === 0) throw new BoundaryError('engine', `${where} holds no LoRA tensors`);
  return [...paths].sort();
}

/**
 * Writes `adapter_config.json` and `adapter_model.safetensors` into an existing folder, as `peft` loads them.
 *
 * @param baseModel what the adapter was trained on, for the reader of the configuration
 */
export async function saveAdapterFolder(
  directory: string,
  adapter: StoredAdapter,
  baseModel: string,
): Promise<void> {
  const tensors = new Map<string, StoredTensor>();
  for (const [path, { a, b }] of adapter.modules) {
    const { rank } = adapter;
    tensors.set(`${prefix}${path}.lora_A.weight`, storeFloat32(a, [rank, a.length / rank]));
    tensors.set(`${prefix}${path}.lora_B.weight`, storeFloat32(b, [b.length / rank, rank]));
  }
  const targets = new Set([...adapter.modules.keys()].map((path) => path.split('.').at(-1)));
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: baseModel,
    r: adapter.rank,
    lora_alpha: adapter.alpha,
    lora_dropout: 0,
    target_modules: [...targets].sort(),
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    use_rslora: false,
    use_dora: false,
  };
  await writeSafetensors(join(directory, 'adapter_model.safetensors'), tensors);
  await writeTextAside(
    join(directory, 'adapter_config.json'),
    `${JSON.stringify(config, undefined, 2)}\n`,
  );
}
