import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { BoundaryError } from '../../errors.ts';
import type { Policy, Sampler, Ticket, TrainingService } from '../../types/training-service.ts';
import type { DataLimits } from '../local/check-data.ts';
import type { Decode } from '../local/stop-strings.ts';
import { type Connection, openConnection } from '../tinker/connection.ts';
import { type Patience, usualPatience } from '../tinker/patience.ts';
import { readGreeting, refusal } from '../tinker/replies.ts';
import { jsonBody } from '../tinker/session.ts';
import { createStopwatch } from '../tinker/stopwatch.ts';
import { createVllmSampler, type VllmRoom } from './vllm-sampler.ts';

export type VllmSamplingOptions = {
  /** Where the server listens, without `/v1`. */
  readonly url: string;
  /** The base, by the name that the server serves it under. */
  readonly baseModel: string;
  /** A folder that this process and the server see under one path. */
  readonly directory: string;
  readonly limits: DataLimits;
  readonly apiKey?: string;
  readonly decode?: Decode;
  readonly patience?: Patience;
  /** Told when the server does not answer. */
  readonly note?: (text: string) => void;
  /** Versions of a policy that the server keeps: the newest, and those that are still being sampled; default 2. */
  readonly keptVersions?: number;
};

/** How long a server may be away when a client first asks for it. */
const greetingMs = 15_000;

/** A completion is answered when it is whole. */
const usual: Patience = { ...usualPatience, requestMs: 10 * 60_000 };

/**
 * The same service with vLLM as its sampler: what a policy publishes is written as a PEFT folder and loaded there under
 * a name of its own, `agent@step`, so that a sampler keeps its weights while training goes on.
 *
 * @throws BoundaryError("engine") when nothing answers there, or the server has another model
 */
export async function withVllmSampling(
  trainer: TrainingService,
  options: VllmSamplingOptions,
): Promise<TrainingService> {
  const { apiKey, patience = usual, note = () => undefined } = options;
  const headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const credential = { headers: async () => headers, renew: () => false };
  const place = { url: options.url.replace(/\/+$/, ''), prefix: '/v1' };
  const room: VllmRoom = {
    connection: openConnection(place, credential, patience, note),
    limits: options.limits,
    decode: options.decode,
    sampling: createStopwatch(),
  };
  const soon = { ...patience, outageMs: Math.min(patience.outageMs, greetingMs) };
  await refuseOtherModel(openConnection(place, credential, soon, note), options.baseModel);
  // A server outlives runs, and would take another run's `solver@3` for this one's.
  const run = randomUUID().slice(0, 8);
  const policies = new Set<VllmPolicy>();
  return {
    createPolicy: async (wanted) => {
      const policy = new VllmPolicy(await trainer.createPolicy(wanted), room, {
        directory: resolve(options.directory, run),
        run,
        keptVersions: options.keptVersions ?? 2,
      });
      policies.add(policy);
      return policy;
    },
    baseSampler: async () => {
      const source = { model: options.baseModel, check: () => undefined };
      return createVllmSampler(room, { policyId: undefined, version: 0 }, source);
    },
    counters: () => ({
      ...trainer.counters(),
      sampledTokens: room.sampling.tokens(),
      sampleSeconds: room.sampling.seconds(),
    }),
    close: async () => {
      for (const policy of policies) await policy.close();
      await rm(resolve(options.directory, run), { recursive: true, force: true });
      await trainer.close();
    },
    abandon: async () => {
      const attempt = room.connection.freeze();
      await Promise.all([...policies].map((policy) => policy.unloadAll(attempt)));
      await rm(resolve(options.directory, run), { recursive: true, force: true });
    },
  };
}

const modelsReply = z.object({ data: z.array(z.object({ id: z.string() })) });

async function refuseOtherModel(connection: Connection, baseModel: string): Promise<void> {
  const what = 'the list of models';
  const reply = await connection.call({ method: 'GET', path: '/models', what });
  const models = readGreeting(reply, modelsReply, {
    what,
    server: `a vLLM server at ${connection.url}`,
    advice: 'sampler.url, which ends before /v1',
  });
  const names = models.data.map(({ id }) => id);
  if (names.includes(baseModel)) return;
  throw new BoundaryError(
    'engine',
    `the vLLM server at ${connection.url} serves no model "${baseModel}", it serves ${names.join(', ') || 'none'}; name one of these as baseModel, or start the server with yours`,
  );
}

/** Where versions are written, and how many are kept. */
type Place = { readonly directory: string; readonly run: string; readonly keptVersions: number };

type Loaded = { readonly name: string; readonly directory: string; readonly version: number };

class VllmPolicy implements Policy {
  readonly id: string;
  readonly #trainer: Policy;
  readonly #room: VllmRoom;
  readonly #place: Place;
  /** Oldest first. */
  #loaded: Loaded[] = [];
  #publishing: Promise<unknown> = Promise.resolve();
  #written = 0;

  constructor(trainer: Policy, room: VllmRoom, place: Place) {
    this.id = trainer.id;
    this.#trainer = trainer;
    this.#room = room;
    this.#place = place;
  }

  readonly version: Policy['version'] = () => this.#trainer.version();
  readonly forward: Policy['forward'] = (data) => this.#trainer.forward(data);
  readonly forwardBackward: Policy['forwardBackward'] = (data, loss) =>
    this.#trainer.forwardBackward(data, loss);
  readonly optimStep: Policy['optimStep'] = (adam) => this.#trainer.optimStep(adam);
  readonly saveState: Policy['saveState'] = (directory) => this.#trainer.saveState(directory);
  readonly exportAdapter: Policy['exportAdapter'] = (directory) =>
    this.#trainer.exportAdapter(directory);

  /** Both are queued at once, so the files are of the version that the trainer's own sampler has. */
  readonly publish = (): Ticket<Sampler> => {
    const own = this.#trainer.publish();
    const directory = join(this.#place.directory, `${this.id}-${++this.#written}`);
    const written = this.#trainer.exportAdapter(directory);
    // Loading may wait for the one before it.
    written.catch(() => undefined);
    const result = this.#publishing.then(async () => {
      const { version } = await own.result;
      await written;
      return this.#samplerOf(await this.#load(version, directory));
    });
    this.#publishing = result.catch(() => undefined);
    return { submitted: own.submitted, result };
  };

  readonly close = async (): Promise<void> => {
    await this.unloadAll(this.#room.connection.attempt);
    await this.#trainer.close();
  };

  async unloadAll(attempt: Connection['attempt']): Promise<void> {
    for (const loaded of this.#loaded.splice(0)) await this.#unload(loaded, attempt);
  }

  async #load(version: number, directory: string): Promise<Loaded> {
    const known = this.#loaded.find((each) => each.version === version);
    if (known !== undefined) {
      await rm(directory, { recursive: true, force: true });
      return known;
    }
    const name = `${this.id}@${version}.${this.#place.run}`;
    const what = `load_lora_adapter ${name}`;
    const reply = await this.#room.connection.call({
      ...{ method: 'POST', path: '/load_lora_adapter', what },
      body: jsonBody({ lora_name: name, lora_path: directory }),
    });
    // A first try may have been done and its answer lost.
    const isThere = reply.status < 400 || /already (been )?loaded/.test(reply.detail);
    if (!isThere) throw refusal(reply, what);
    const loaded = { name, directory, version };
    this.#loaded.push(loaded);
    for (const old of this.#loaded.splice(0, this.#loaded.length - this.#place.keptVersions)) {
      await this.#unload(old, this.#room.connection.attempt);
    }
    return loaded;
  }

  /** What cannot be unloaded is pushed out by newer ones; a server that is gone has none. */
  async #unload({ name, directory }: Loaded, attempt: Connection['attempt']): Promise<void> {
    const call = {
      method: 'POST',
      path: '/unload_lora_adapter',
      what: `unloading ${name}`,
    } as const;
    const body = jsonBody({ lora_name: name });
    await attempt({ ...call, body }, this.#room.connection.patience.farewellMs);
    await rm(directory, { recursive: true, force: true });
  }

  #samplerOf(loaded: Loaded): Sampler {
    const { version } = loaded;
    const check = () => {
      if (this.#loaded.includes(loaded)) return;
      throw new BoundaryError(
        'engine',
        `version ${version} of policy "${this.id}" was unloaded from the vLLM server, which keeps the newest ${this.#place.keptVersions}; publish again`,
      );
    };
    const source = { model: loaded.name, check };
    return createVllmSampler(this.#room, { policyId: this.id, version }, source);
  }
}
