import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTarGzip } from 'nanotar';
import {
  createLocalTrainingService,
  type LocalTrainingService,
  type LocalTrainingServiceOptions,
} from '../../../src/service/local/local-training-service.ts';
import type { ServerKind } from '../../../src/service/tinker/profile.ts';
import type {
  Adam,
  Datum,
  PassResult,
  Policy,
  Sampler,
  TokenLoss,
} from '../../../src/types/training-service.ts';
import type { PassOutput, PassRequest, SampleOutput } from './wire.ts';

/** An answer that is no success. */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

type Model = {
  readonly policy: Policy;
  readonly session: string;
  readonly rank: number;
  hasRequests: boolean;
  /** Of a server that averages over sequences: what came since the last step. */
  readonly pending: { readonly data: readonly Datum[]; readonly loss: TokenLoss }[];
};

/** A sampler's weights under a name: those of then, or on servers without snapshots those of now. */
type Weights = { readonly model: string; readonly sampler: Sampler | undefined };

type ModelsOptions = {
  readonly kind: ServerKind;
  readonly directory: string;
  readonly places?: number;
};

/** The models of a server, computed by the engine of this process; saved states outlive it, in `directory`. */
export class Models {
  readonly #service: LocalTrainingService;
  readonly #kind: ServerKind;
  readonly #directory: string;
  readonly #places: number;
  readonly #models = new Map<string, Model>();
  readonly #weights = new Map<string, Weights>();
  readonly #samplers = new Map<string, Weights>();
  #base: Sampler | undefined;

  static async open(engine: LocalTrainingServiceOptions, options: ModelsOptions): Promise<Models> {
    return new Models(await createLocalTrainingService(engine), options);
  }

  private constructor(service: LocalTrainingService, options: ModelsOptions) {
    this.#service = service;
    this.#kind = options.kind;
    this.#directory = options.directory;
    this.#places = options.places ?? Number.POSITIVE_INFINITY;
  }

  get(id: string): Model {
    const model = this.#models.get(id);
    if (model === undefined) throw new Refusal(404, 'Model not found');
    return model;
  }

  async create(id: string, session: string, lora: { rank: number; seed?: number | undefined }) {
    const { rank, seed = 0 } = lora;
    if (this.#models.size >= this.#places) {
      throw new Refusal(400, `Maximum number of LoRA adapters (${this.#places}) reached`);
    }
    const alpha = this.#alphaOf(rank);
    if (this.#kind === 'skyrl-megatron') {
      const other = [...this.#models.values()].find((model) => model.rank !== rank);
      if (other) throw new Refusal(400, `rank ${rank} differs from ${other.rank}`);
    }
    const policy = await this.#service.createPolicy({ id, seed, rank, alpha });
    this.#models.set(id, { policy, session, rank, hasRequests: false, pending: [] });
    const lora_config = { rank, alpha, seed };
    return { model_id: id, lora_config };
  }

  async unload(id: string) {
    await this.get(id).policy.close();
    this.#models.delete(id);
    return { model_id: id, status: 'unloaded', type: 'unload_model' };
  }

  /** Submitted at once, so that requests are done in the order in which they came. */
  pass({ model_id, input }: PassRequest, isForwardOnly: boolean): Promise<PassOutput> {
    const model = this.get(model_id);
    const data = input.data.map((datum) => datumOf(datum, this.#kind));
    if (isForwardOnly) return model.policy.forward(data.map(unweighted)).result.then(outputOf);
    const loss = lossOf(input);
    // Servers return the log-probability of every target, the engine only where the weight is not 0.
    const every = model.policy.forward(data.map(unweighted)).result.then(outputOf);
    if (this.#kind !== 'skyrl-jax') {
      const added = model.policy.forwardBackward(data, loss).result;
      return Promise.all([every, added]).then(([output]) => output);
    }
    model.pending.push({ data, loss });
    return every;
  }

  async step(id: string, adam: Adam): Promise<{ metrics?: Record<string, number> }> {
    const model = this.get(id);
    const taken = model.pending.splice(0);
    const count = taken.reduce((sum, { data }) => sum + data.length, 0);
    for (const { data, loss } of taken) {
      model.policy.forwardBackward(
        data.map((datum) => averaged(datum, count)),
        loss,
      );
    }
    const { gradNorm = Number.NaN } = await model.policy.optimStep(adam).result;
    // Only SkyRL is known to say it.
    return this.#kind.startsWith('skyrl') ? { metrics: { 'skyrl.ai/grad_norm': gradNorm } } : {};
  }

  async save(id: string, name: string) {
    const path = `${id}/weights/${name}`;
    const folder = join(this.#directory, id, name);
    if (existsSync(folder)) throw new Refusal(409, `Checkpoint '${name}' already exists`);
    await this.get(id).policy.saveState(folder).result;
    return { path: `tinker://${path}`, type: 'save_weights' };
  }

  async load(id: string, path: string, optimizer: boolean) {
    const [, source = '', name = ''] = /^tinker:\/\/([^/]+)\/weights\/([^/]+)$/.exec(path) ?? [];
    const directory = join(this.#directory, source, name);
    if (!existsSync(directory)) throw new Refusal(404, `Checkpoint not found: ${path}`);
    const { policy, session, rank } = this.get(id);
    await policy.close();
    const from = { directory, optimizer };
    const loaded = await this.#service.createPolicy({ id, seed: 0, rank, from });
    this.#models.set(id, { policy: loaded, session, rank, hasRequests: true, pending: [] });
    return { type: 'load_weights' };
  }

  async saveForSampler(id: string, name: string) {
    const { policy } = this.get(id);
    const path = `${id}/${name}`;
    if (this.#weights.has(path)) throw new Refusal(409, `Checkpoint '${name}' already exists`);
    const isSnapshot = !this.#kind.startsWith('skyrl');
    const weights: { model: string; sampler: Sampler | undefined } = {
      model: id,
      sampler: undefined,
    };
    this.#weights.set(path, weights);
    const sampler = await policy.publish().result;
    if (isSnapshot) weights.sampler = sampler;
    return { path: `tinker://${path}`, type: 'save_weights_for_sampler' };
  }

  openSampler(path: string | undefined): string {
    const weights = path === undefined ? undefined : this.#weights.get(path);
    const id = `sampling_${randomUUID().slice(0, 8)}`;
    this.#samplers.set(id, weights ?? { model: '', sampler: undefined });
    return id;
  }

  async sample(
    sampler: string,
    prompt: Int32Array,
    wish: {
      readonly maxTokens: number;
      readonly temperature: number;
      readonly seed: number;
      readonly stop: readonly number[];
      readonly hasPromptLogprobs: boolean;
    },
  ): Promise<SampleOutput> {
    const weights = this.#samplers.get(sampler);
    if (weights === undefined) throw new Refusal(404, 'Sampling session not found');
    const source = await this.#samplerOf(weights);
    const { maxTokens, temperature, seed, stop: stopTokens } = wish;
    const params = { maxTokens, temperature, seed, stopTokens };
    const { tokens, logprobs, stop } = await source.sample(prompt, params);
    const sequence = { tokens: [...tokens], logprobs: [...logprobs], stop_reason: stop };
    if (!wish.hasPromptLogprobs) return { sequences: [sequence] };
    const scored = Array.from(await source.logprobs(prompt), (each) =>
      Number.isNaN(each) ? null : each,
    );
    // SkyRL's JAX backend leaves out the first, which is none.
    const prompt_logprobs = this.#kind === 'skyrl-jax' ? scored.slice(1) : scored;
    return { sequences: [sequence], prompt_logprobs };
  }

  /** A tar.gz of the PEFT files. */
  async archive(id: string): Promise<Uint8Array> {
    const folder = join(this.#directory, 'archives', randomUUID());
    await this.get(id).policy.exportAdapter(folder);
    const names = ['adapter_config.json', 'adapter_model.safetensors'];
    const [config = '{}', weights] = await Promise.all([
      readFile(join(folder, names[0] as string), 'utf8'),
      readFile(join(folder, names[1] as string)),
    ]);
    // As SkyRL writes it.
    const sparse = { ...JSON.parse(config), target_modules: null };
    const data = this.#kind === 'skyrl-jax' ? JSON.stringify(sparse) : config;
    return createTarGzip([
      { name: `./${names[0]}`, data },
      { name: `./${names[1]}`, data: weights },
    ]);
  }

  ofSession(session: string): string[] {
    return [...this.#models].flatMap(([id, model]) => (model.session === session ? [id] : []));
  }

  close(): Promise<void> {
    return this.#service.close();
  }

  #alphaOf(rank: number): number {
    return this.#kind === 'tuft' ? 2 * rank : 32;
  }

  async #samplerOf({ model, sampler }: Weights): Promise<Sampler> {
    if (sampler !== undefined) return sampler;
    if (model !== '') return this.get(model).policy.publish().result;
    if (this.#kind === 'skyrl-megatron') throw new Refusal(400, 'unknown model id ""');
    this.#base ??= await this.#service.baseSampler();
    return this.#base;
  }
}

function datumOf(
  { model_input, loss_fn_inputs }: PassRequest['input']['data'][number],
  kind: ServerKind,
): Datum {
  const input = Int32Array.from(model_input.chunks.flatMap(({ tokens }) => tokens));
  const { target_tokens, weights, advantages, logprobs } = loss_fn_inputs;
  const floats = (tensor: { data: number[] } | undefined) =>
    tensor && Float32Array.from(tensor.data);
  if (kind === 'tuft' && weights === undefined && advantages === undefined) {
    throw new Refusal(422, 'cross_entropy needs weights');
  }
  return {
    input,
    target: Int32Array.from(target_tokens?.data ?? []),
    weights: floats(weights) ?? new Float32Array(input.length).fill(1),
    ...(advantages && { advantages: floats(advantages) as Float32Array }),
    ...(logprobs && { oldLogprobs: floats(logprobs) as Float32Array }),
  };
}

function unweighted({ input, target }: Datum): Datum {
  return { input, target };
}

/** 1/N of the mean over the datum's tokens, as SkyRL's JAX backend has it. */
function averaged(datum: Datum, count: number): Datum {
  const weights = datum.weights ?? new Float32Array();
  const sum = Math.max(
    weights.reduce((total, weight) => total + weight, 0),
    1e-9,
  );
  return { ...datum, weights: weights.map((weight) => weight / sum / count) };
}

function lossOf({ loss_fn, loss_fn_config = {} }: PassRequest['input']): TokenLoss {
  switch (loss_fn) {
    case 'cross_entropy':
    case 'importance_sampling':
      return { kind: loss_fn };
    case 'ppo':
    case 'cispo':
      return {
        kind: loss_fn,
        clipLow: loss_fn_config.clip_low_threshold ?? 0.9,
        clipHigh: loss_fn_config.clip_high_threshold ?? 1.1,
      };
    default:
      throw new Refusal(422, `unknown loss_fn ${loss_fn}`);
  }
}

function outputOf({ logprobs }: PassResult): PassOutput {
  return {
    loss_fn_output_type: 'ArrayRecord',
    loss_fn_outputs: logprobs.map((row) => ({
      logprobs: { data: [...row], dtype: 'float32' as const, shape: [row.length] },
    })),
    metrics: {},
  };
}
