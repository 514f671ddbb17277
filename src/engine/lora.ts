import { BoundaryError } from '../errors.ts';
import { createRandom, seedFor } from '../random.ts';
import { aten } from './aten.ts';
import { requireGrad } from './autograd.ts';
import type { ModelConfig } from './model-config.ts';
import { linearShapes } from './model-folder.ts';
import { add, concat, convert, indexSelect, linear, transpose, zeros } from './ops.ts';
import { keep } from './scope.ts';
import { type Device, type DType, indexTensor, type Tensor, tensorOf } from './tensor.ts';
import { loraLinear } from './traced-pass.ts';

/** The trainable pair of one linear module; its output gains (alpha / rank) · B · A · input. */
export type LoraPair = {
  /** float32 [rank, inputs] */
  readonly a: Tensor;
  /** float32 [outputs, rank] */
  readonly b: Tensor;
};

/** Low-rank changes to the linear modules of a decoder. */
export type Adapter = {
  readonly rank: number;
  readonly alpha: number;
  /** Module path, for example `model.layers.0.self_attn.q_proj`, → its pair. */
  readonly modules: ReadonlyMap<string, LoraPair>;
};

export type AdapterOptions = {
  readonly rank: number;
  /** Default: twice the rank. */
  readonly alpha?: number;
  readonly seed: number;
  /** Last parts of module names; default: every linear module. */
  readonly targets?: readonly string[];
  readonly device?: Device;
};

/**
 * An adapter that changes nothing yet: B is 0 and A uniform in ±1/√inputs, as `peft` starts them.
 * Caller frees with `disposeAdapter`; its tensors collect gradients.
 */
export function createAdapter(config: ModelConfig, options: AdapterOptions): Adapter {
  const { rank, seed, device = 'cpu' } = options;
  const modules = new Map<string, LoraPair>();
  const shapes = [...linearShapes(config)].filter(([module]) => isTarget(module, options.targets));
  if (shapes.length === 0) {
    throw new BoundaryError(
      'engine',
      `no linear module matches the LoRA targets [${options.targets?.join(', ')}]; known are ${[...linearShapes(config).keys()].join(', ')}`,
    );
  }
  for (let layer = 0; layer < config.layers; layer++) {
    for (const [module, [outputs, inputs]] of shapes) {
      const path = `model.layers.${layer}.${module}`;
      const values = uniformValues(rank * inputs, 1 / Math.sqrt(inputs), seedFor(seed, path));
      const a = keep(requireGrad(tensorOf(values, [rank, inputs], device)));
      modules.set(path, { a, b: keep(requireGrad(zeros([outputs, rank], { device }))) });
    }
  }
  return { rank, alpha: options.alpha ?? 2 * rank, modules };
}

function isTarget(module: string, targets: readonly string[] | undefined): boolean {
  return targets === undefined || targets.some((target) => module.split('.').at(-1) === target);
}

function uniformValues(count: number, bound: number, seed: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: count }, () => (2 * random.uniform() - 1) * bound);
}

/** Frees an adapter's tensors. */
export function disposeAdapter(adapter: Adapter): void {
  for (const { a, b } of adapter.modules.values()) {
    a.dispose();
    b.dispose();
  }
}

/** The adapter's tensors by the names `peft` stores them under, sorted as they are trained. */
export function adapterParameters(adapter: Adapter): ReadonlyMap<string, Tensor> {
  const parameters = new Map<string, Tensor>();
  for (const [path, { a, b }] of adapter.modules) {
    parameters.set(`base_model.model.${path}.lora_A.weight`, a);
    parameters.set(`base_model.model.${path}.lora_B.weight`, b);
  }
  return parameters;
}

/** Writes to the adapter's tensors so far: while the number stays, they do. */
export function adapterWrites(adapter: Adapter): number {
  let writes = 0;
  for (const { a, b } of adapter.modules.values()) writes += a.writes + b.writes;
  return writes;
}

/** A copy of the adapter as it is now, without gradients: what a sampler holds while training goes on. */
export function snapshotAdapter(adapter: Adapter): Adapter {
  const copy = (tensor: Tensor) => keep(aten('clone', aten('detach', tensor)));
  const modules = new Map<string, LoraPair>();
  for (const [path, { a, b }] of adapter.modules) modules.set(path, { a: copy(a), b: copy(b) });
  return { ...adapter, modules };
}

/** Linear modules that read the same input, computed as one product: the decoder's four kinds of matrix. */
export const linearGroups = {
  qkv: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
  output: ['self_attn.o_proj'],
  gateUp: ['mlp.gate_proj', 'mlp.up_proj'],
  down: ['mlp.down_proj'],
} as const satisfies Record<string, readonly string[]>;

export type LinearGroup = keyof typeof linearGroups;

/** The low-rank matrices of all adapters for one group of one layer, side by side along the rank. */
type GroupLora = {
  /** [ranks, inputs] */
  readonly a: Tensor;
  /** [ranks, outputs of the group]; block-diagonal over the group's modules */
  readonly b: Tensor;
  /** int64 [ranks, 2]: first output that a row of `b` changes, and the one after the last. */
  readonly spans: Tensor;
  /** Per column of `a`'s output: which adapter it belongs to. */
  readonly columns: string;
};

/** Adapters laid out for a forward pass. Free with `tidy` or, when kept, `disposeBank`. */
export type LoraBank = {
  readonly adapters: readonly Adapter[];
  /** Per layer, per group; absent where no adapter changes the group. */
  readonly layers: readonly Partial<Record<LinearGroup, GroupLora>>[];
  /**
   * `columns` → [adapters + 1, ranks]: what a token of each adapter multiplies the columns by, alpha / rank on its own and 0 on
   * the others'; the last row is for tokens of the base alone.
   */
  readonly scales: ReadonlyMap<string, Tensor>;
};

/** Lays adapters out for a forward pass; gradients flow back to them. */
export function buildBank(
  config: ModelConfig,
  adapters: readonly Adapter[],
  placement: { readonly dtype: DType; readonly device: Device },
): LoraBank {
  const scales = new Map<string, Tensor>();
  const shapes = linearShapes(config);
  const layers = Array.from({ length: config.layers }, (_, layer) => {
    const groups: Partial<Record<LinearGroup, GroupLora>> = {};
    for (const [group, modules] of Object.entries(linearGroups)) {
      const built = buildGroup(
        adapters,
        modules.map((module) => ({
          path: `model.layers.${layer}.${module}`,
          outputs: shapes.get(module)?.[0] ?? 0,
        })),
        placement,
      );
      if (built === undefined) continue;
      groups[group as LinearGroup] = built;
      if (!scales.has(built.columns)) {
        scales.set(built.columns, scalesOf(adapters, built.columns, placement));
      }
    }
    return groups;
  });
  return { adapters, layers, scales };
}

function scalesOf(
  adapters: readonly Adapter[],
  columns: string,
  placement: { readonly dtype: DType; readonly device: Device },
): Tensor {
  const owners = columns.split(',').map(Number);
  const rows = [...adapters.keys(), -1].flatMap((index) =>
    owners.map((owner) => (owner === index ? scaleOfAdapter(adapters[index]) : 0)),
  );
  const shape = [adapters.length + 1, owners.length];
  return asDType(tensorOf(rows, shape, placement.device), placement.dtype);
}

/** What an adapter's output is multiplied by. */
function scaleOfAdapter(adapter: Adapter | undefined): number {
  return adapter === undefined ? 0 : adapter.alpha / adapter.rank;
}

function buildGroup(
  adapters: readonly Adapter[],
  modules: readonly { readonly path: string; readonly outputs: number }[],
  placement: { readonly dtype: DType; readonly device: Device },
): GroupLora | undefined {
  const columns: number[] = [];
  const spans: number[] = [];
  const down: Tensor[] = [];
  let first = 0;
  const blocks = modules.map(({ path, outputs }) => {
    const span = [first, first + outputs];
    first += outputs;
    const up: Tensor[] = [];
    for (const [owner, adapter] of adapters.entries()) {
      const pair = adapter.modules.get(path);
      if (pair === undefined) continue;
      down.push(asDType(pair.a, placement.dtype));
      up.push(transpose(asDType(pair.b, placement.dtype), 0, 1));
      for (let column = 0; column < adapter.rank; column++) {
        columns.push(owner);
        spans.push(...span);
      }
    }
    return up.length === 0 ? zeros([0, outputs], placement) : concat(up, 0);
  });
  if (down.length === 0) return undefined;
  const b = blocks.length === 1 ? (blocks[0] as Tensor) : aten('block_diag', blocks);
  return {
    ...{ a: concat(down, 0), b, columns: columns.join() },
    spans: indexTensor(spans, [columns.length, 2], placement.device),
  };
}

function asDType(tensor: Tensor, dtype: DType): Tensor {
  return tensor.dtype === dtype ? tensor : convert(tensor, { dtype });
}

/** Takes a bank out of its scope, to be used over many forward passes. */
export function keepBank(bank: LoraBank): LoraBank {
  for (const tensor of bankTensors(bank)) keep(tensor);
  return bank;
}

export function disposeBank(bank: LoraBank): void {
  for (const tensor of bankTensors(bank)) tensor.dispose();
}

function bankTensors(bank: LoraBank): Tensor[] {
  const groups = bank.layers.flatMap((layer) => Object.values(layer));
  return [...groups.flatMap(({ a, b, spans }) => [a, b, spans]), ...bank.scales.values()];
}

/** Which adapter each token of a forward pass uses, as factors on the columns of the bank. */
export type LoraRows = {
  readonly bank: LoraBank;
  /** One factor for all tokens (a bank with one adapter), or `columns` → [tokens, ranks]. */
  readonly factors: number | ReadonlyMap<string, Tensor>;
};

/** All tokens use the only adapter of the bank. */
export function loraOfOne(bank: LoraBank): LoraRows {
  return { bank, factors: scaleOf(bank) };
}

/** What the only adapter of a bank is multiplied by: alpha / rank. */
export function scaleOf({ adapters }: LoraBank): number {
  const [adapter, another] = adapters;
  if (adapter === undefined || another !== undefined) {
    throw new BoundaryError('engine', `expected a bank of one adapter, got ${adapters.length}`);
  }
  return scaleOfAdapter(adapter);
}

/** The row of a bank's `scales` for tokens of an adapter; undefined = of the base alone. */
export function rowInBank({ adapters }: LoraBank, adapter: Adapter | undefined): number {
  if (adapter === undefined) return adapters.length;
  const index = adapters.indexOf(adapter);
  if (index >= 0) return index;
  throw new BoundaryError('engine', 'a token’s adapter is not in the bank of its pass');
}

/**
 * Each token uses its own adapter.
 *
 * @param owners int64 [tokens], each as `rowInBank` says
 */
export function loraOfEach(bank: LoraBank, owners: Tensor): LoraRows {
  const factors = new Map<string, Tensor>();
  for (const [columns, scales] of bank.scales) {
    factors.set(columns, indexSelect(scales, 0, owners));
  }
  return { bank, factors };
}

/** A linear group of the base and what it is applied to; `residual` [tokens, outputs] is added to the output. */
export type BaseProduct = {
  readonly input: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  /** int64 [rows]: which tokens of the pass the input's rows are, where they are not all. */
  readonly places: Tensor | undefined;
};

/** A group's output [tokens, outputs], with the adapters' share. */
export function productOf(
  base: BaseProduct,
  rows: LoraRows | undefined,
  place: { readonly layer: number; readonly group: LinearGroup },
): Tensor {
  const { input, weight, bias, residual, places } = base;
  const lora = rows?.bank.layers[place.layer]?.[place.group];
  if (rows === undefined || lora === undefined) return baseProduct(base);
  const factors = factorsFor(rows, lora);
  const chosen =
    places === undefined || typeof factors === 'number' ? factors : indexSelect(factors, 0, places);
  const pair = { a: lora.a, b: lora.b, factors: chosen, places };
  if (bias === undefined || residual === undefined) {
    return loraLinear({ input, weight, added: bias ?? residual }, pair);
  }
  return add(loraLinear({ input, weight, added: bias }, pair), residual);
}

function baseProduct({ input, weight, bias, residual }: BaseProduct): Tensor {
  if (residual === undefined) return linear(input, weight, bias);
  if (bias !== undefined) return add(linear(input, weight, bias), residual);
  return aten('addmm', residual, input, transpose(weight, 0, 1));
}

/** What a group's inner columns are multiplied by: one number, or a tensor [tokens, ranks]. */
function factorsFor({ factors }: LoraRows, { columns }: GroupLora): number | Tensor {
  const own = typeof factors === 'number' ? factors : factors.get(columns);
  if (own !== undefined) return own;
  throw new BoundaryError('engine', 'the factors of a LoRA pass belong to another bank');
}
