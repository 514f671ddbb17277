import {
  createDecoder,
  type Decoder,
  decoderParameters,
  disposeDecoder,
} from '../../engine/decoder.ts';
import type { GeneratorOptions } from '../../engine/generation.ts';
import { initialWeights } from '../../engine/initial-weights.ts';
import { loadDecoder, storeWeights } from '../../engine/load-model.ts';
import type { ModelConfig } from '../../engine/model-config.ts';
import { saveModelFolder } from '../../engine/model-folder.ts';
import { openDevice, setThreads } from '../../engine/native.ts';
import { AdamW } from '../../engine/optimizer.ts';
import { openStepRecorder } from '../../engine/step-recorder.ts';
import { bytesOf, type Device, type DType, liveTensors } from '../../engine/tensor.ts';
import { BoundaryError } from '../../errors.ts';
import type { Policy, PolicyOptions, TrainingService } from '../../types/training-service.ts';
import type { EngineRoom } from './engine-room.ts';
import { LocalPolicy } from './local-policy.ts';
import { baseLease, createLocalSampler } from './local-sampler.ts';
import { restoreOptimizer } from './optimizer-file.ts';
import { createSamplingPool } from './sampling-pool.ts';
import { createScoringPool } from './scoring-pool.ts';
import type { Decode } from './stop-strings.ts';
import { addValueHead, createTrainableAdapter, createTrainableDecoder } from './trainable.ts';
import { startWorkLoop, type WorkSource } from './work-loop.ts';
import { createWorkQueue, type WorkQueue } from './work-queue.ts';

/** Which model, where it runs, and how much of it at once. */
export type LocalTrainingServiceOptions = (
  | { readonly modelDirectory: string }
  /** Fresh weights. */
  | { readonly model: ModelConfig; readonly seed: number }
) & {
  readonly device?: Device;
  /** Of the base; adapters are float32 always. */
  readonly dtype?: DType;
  /** Threads of one operator; default: libtorch's own choice. */
  readonly threads?: number;
  /** Sequences sampled at once. */
  readonly maxRows?: number;
  /** Tokens of one training pass. */
  readonly microBatchTokens?: number;
  /** Computes activations again on the way back: less memory, about a third more work. Default false. */
  readonly gradientCheckpointing?: boolean;
  /** Records decode steps and does them again, where libtorch has graphs for the device. Default false. */
  readonly decodeGraphs?: boolean;
  /** Told in one sentence when steps cannot be recorded. */
  readonly note?: (text: string) => void;
  /** The model's tokenizer, for stop strings. */
  readonly decode?: Decode;
};

export type LocalTrainingService = TrainingService & {
  readonly config: ModelConfig;
  /** Writes `config.json` and `model.safetensors`; the tokenizer's files are the caller's to copy. */
  readonly saveModel: (directory: string) => Promise<void>;
};

/** The training service of this process: one base model in memory, an adapter for each policy. */
export async function createLocalTrainingService(
  options: LocalTrainingServiceOptions,
): Promise<LocalTrainingService> {
  openDevice(options.device ?? 'cpu');
  if (options.threads !== undefined) setThreads(options.threads);
  return new LocalService(await makeDecoder(options), options);
}

async function makeDecoder(options: LocalTrainingServiceOptions): Promise<Decoder> {
  const placement = { dtype: options.dtype ?? 'float32', device: options.device ?? 'cpu' };
  return 'modelDirectory' in options
    ? loadDecoder(options.modelDirectory, placement)
    : createDecoder(options.model, initialWeights(options.model, options.seed, placement));
}

function generatorOptionsOf(
  { maxRows, decodeGraphs, note }: LocalTrainingServiceOptions,
  { device }: Decoder,
): GeneratorOptions {
  const recorder = decodeGraphs ? openStepRecorder(device, note ?? (() => undefined)) : undefined;
  return {
    ...(maxRows !== undefined && { maxRows }),
    ...(recorder && { recorder }),
    ...(note && { note }),
  };
}

/** Memory of what a policy owns: its adapter and value head, and its optimiser's state. */
type PolicyBytes = { readonly adapter: number; readonly optimizer: number };

class LocalService implements LocalTrainingService {
  readonly config: ModelConfig;
  readonly #room: EngineRoom;
  readonly #loop: ReturnType<typeof startWorkLoop>;
  readonly #policies = new Map<
    string,
    { readonly policy: LocalPolicy; readonly queue: WorkQueue; readonly bytes: PolicyBytes }
  >();
  /** Ids of policies that are open or being created. */
  readonly #ids = new Set<string>();
  #fullPolicy: string | undefined;
  #turn = 0;
  #trainedTokens = 0;
  #activationBytes = 0;
  #sampleSeconds = 0;
  #trainSeconds = 0;
  #closing: Promise<void> | undefined;

  constructor(decoder: Decoder, options: LocalTrainingServiceOptions) {
    this.config = decoder.config;
    const wake = () => this.#loop.wake();
    this.#room = {
      decoder,
      pool: createSamplingPool(decoder, generatorOptionsOf(options, decoder), wake),
      scoringPool: createScoringPool(decoder, options.microBatchTokens ?? 4096, wake),
      scoring: createWorkQueue(wake),
      microBatchTokens: options.microBatchTokens ?? 4096,
      isCheckpointed: options.gradientCheckpointing ?? false,
      decode: options.decode,
      modelName: 'modelDirectory' in options ? options.modelDirectory : '',
      wake,
      countTrained: (tokens) => {
        this.#trainedTokens += tokens;
      },
      noteActivations: (bytes) => {
        this.#activationBytes = Math.max(this.#activationBytes, bytes);
      },
    };
    const sample = timed(this.#room.pool.step, (seconds) => {
      this.#sampleSeconds += seconds;
    });
    const train = timed(
      () => this.#trainOneUnit(),
      (seconds) => {
        this.#trainSeconds += seconds;
      },
    );
    const score = () => this.#room.scoringPool?.step() ?? this.#room.scoring.step();
    this.#loop = startWorkLoop([sample, score, train]);
  }

  readonly createPolicy = async (options: PolicyOptions): Promise<Policy> => {
    this.#checkOpen();
    this.#checkRoomFor(options);
    this.#ids.add(options.id);
    if (options.rank === 'full') this.#fullPolicy = options.id;
    try {
      return await this.#openPolicy(options);
    } catch (error) {
      this.#forget(options.id);
      throw error;
    }
  };

  readonly baseSampler: TrainingService['baseSampler'] = async () => {
    this.#checkOpen();
    if (this.#fullPolicy !== undefined) {
      throw new BoundaryError(
        'engine',
        `The base is being trained by the policy "${this.#fullPolicy}" (rank "full"), so there is no base to sample`,
      );
    }
    return createLocalSampler(this.#room, { policyId: undefined, version: 0 }, baseLease);
  };

  readonly counters: TrainingService['counters'] = () => ({
    sampledTokens: this.#room.pool.sampledTokens(),
    trainedTokens: this.#trainedTokens,
    sampleSeconds: this.#sampleSeconds,
    trainSeconds: this.#trainSeconds,
    liveTensors: liveTensors(),
    ...this.#memory(),
  });

  readonly saveModel = async (directory: string): Promise<void> => {
    this.#checkOpen();
    await saveModelFolder(directory, this.config, storeWeights(this.#room.decoder));
  };

  readonly close = (): Promise<void> => {
    this.#closing ??= this.#close();
    return this.#closing;
  };

  async #close(): Promise<void> {
    await this.#loop.stop();
    this.#room.scoringPool?.close('The service is closed');
    this.#room.scoring.close('The service is closed');
    for (const { policy } of [...this.#policies.values()]) await policy.close();
    this.#room.pool.close();
    // Samples under way let go of their snapshots before the decoder goes.
    await new Promise((resolve) => setImmediate(resolve));
    disposeDecoder(this.#room.decoder);
  }

  #memory(): Readonly<Record<string, number>> {
    const policies = [...this.#policies.values()];
    const sum = (of: (sizes: PolicyBytes) => number) =>
      policies.reduce((total, { bytes }) => total + of(bytes), 0);
    return {
      weightBytes: bytesOf(decoderParameters(this.#room.decoder).values()),
      adapterBytes: sum(({ adapter }) => adapter),
      optimizerBytes: sum(({ optimizer }) => optimizer),
      cacheBytes: this.#room.pool.cacheBytes(),
      activationBytes: this.#activationBytes,
    };
  }

  /** One unit of one policy; policies take turns. */
  #trainOneUnit(): boolean {
    const queues = [...this.#policies.values()];
    for (let tried = 0; tried < queues.length; tried++) {
      this.#turn = (this.#turn + 1) % queues.length;
      if (queues[this.#turn]?.queue.step() === true) return true;
    }
    return false;
  }

  async #openPolicy(options: PolicyOptions): Promise<Policy> {
    const { id, rank, from } = options;
    const { decoder, modelName } = this.#room;
    const weights =
      rank === 'full'
        ? await createTrainableDecoder(decoder, options)
        : await createTrainableAdapter(decoder, { ...options, rank }, modelName);
    const trainable = options.valueHead ? await addValueHead(weights, decoder, options) : weights;
    const base = new Set(decoderParameters(decoder).values());
    const optimizer = new AdamW(trainable.parameters);
    try {
      const version =
        from?.optimizer === true
          ? await restoreOptimizer(optimizer, from.directory, decoder.device)
          : 0;
      this.#checkOpen();
      const queue = createWorkQueue(this.#room.wake);
      const onClose = () => this.#forget(id);
      const parts = { id, version, room: this.#room, queue, trainable, optimizer, onClose };
      const policy = new LocalPolicy(parts);
      const owned = [...trainable.parameters.values()].filter((tensor) => !base.has(tensor));
      const bytes = {
        adapter: bytesOf(owned),
        optimizer: bytesOf(optimizer.state().tensors.values()),
      };
      this.#policies.set(id, { policy, queue, bytes });
      return policy;
    } catch (error) {
      optimizer.dispose();
      trainable.dispose();
      throw error;
    }
  }

  #forget(id: string): void {
    this.#policies.delete(id);
    this.#ids.delete(id);
    // A base that was trained stays trained, so `#fullPolicy` is kept once the policy has existed.
    if (this.#fullPolicy === id && this.#ids.size === 0) this.#fullPolicy = undefined;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new BoundaryError('engine', 'The service is closed');
  }

  #checkRoomFor({ id, rank }: PolicyOptions): void {
    if (this.#ids.has(id)) {
      throw new BoundaryError('engine', `There is a policy "${id}" already; give each its own id`);
    }
    const other = this.#ids.values().next().value;
    if (this.#fullPolicy !== undefined || (rank === 'full' && other !== undefined)) {
      throw new BoundaryError(
        'engine',
        `A policy of rank "full" must be the only one; "${id}" cannot stand beside "${this.#fullPolicy ?? other}"`,
      );
    }
  }
}

function timed(source: WorkSource, add: (seconds: number) => void): WorkSource {
  return () => {
    const start = performance.now();
    const worked = source();
    if (worked) add((performance.now() - start) / 1000);
    return worked;
  };
}
