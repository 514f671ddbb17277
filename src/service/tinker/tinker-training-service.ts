import { BoundaryError } from '../../errors.ts';
import type { Policy, PolicyOptions, TrainingService } from '../../types/training-service.ts';
import type { DataLimits } from '../local/check-data.ts';
import type { Decode } from '../local/stop-strings.ts';
import { given } from './adam-parameters.ts';
import { awaitPlace } from './await-place.ts';
import { awaitResult } from './await-result.ts';
import { type Connection, openConnection } from './connection.ts';
import { createCredential, type KeyCredential } from './credential.ts';
import { openGates } from './gate.ts';
import { type Patience, usualPatience } from './patience.ts';
import { type FixedAdam, type Profile, profiles, type ServerKind } from './profile.ts';
import {
  capabilitiesReply,
  configurationReply,
  createdModelReply,
  modelReply,
  readGreeting,
  readReply,
  samplingSessionReply,
} from './replies.ts';
import { SequencedRequests } from './sequenced-requests.ts';
import type { ServerRoom } from './server-room.ts';
import { readServerState, type ServerState } from './server-state.ts';
import { jsonBody, openSession, sdkVersionBody } from './session.ts';
import { createStopwatch } from './stopwatch.ts';
import { TinkerPolicy } from './tinker-policy.ts';
import { createTinkerSampler } from './tinker-sampler.ts';

export type TinkerTrainingServiceOptions = {
  /** Where the server listens, without `/api/v1`. */
  readonly url: string;
  readonly server: ServerKind;
  /** As the server calls it. */
  readonly baseModel: string;
  /** Of that model: what the client refuses before anything is sent. */
  readonly limits: DataLimits;
  /** Absent = none is shown. */
  readonly apiKey?: string;
  /** What the server was started with, where it steps with its own numbers. */
  readonly adam?: { readonly [Name in keyof FixedAdam]?: FixedAdam[Name] | undefined };
  /** The model's tokenizer, for stop strings. */
  readonly decode?: Decode;
  readonly dialect?: Profile['dialect'];
  readonly patience?: Patience;
  /** Told what the server wants a person to know, and when it does not answer. */
  readonly note?: (text: string) => void;
};

/** How long a server may be away when a client first asks for it. */
const greetingMs = 15_000;

/**
 * A training service on the far side of the Tinker protocol: hosted Tinker, SkyRL, TuFT.
 *
 * @throws BoundaryError("engine") when nothing answers there, the key is refused, or the server has another model
 */
export async function createTinkerTrainingService(
  options: TinkerTrainingServiceOptions,
): Promise<TrainingService> {
  const { server, baseModel, patience = usualPatience, note = () => undefined } = options;
  const url = options.url.replace(/\/+$/, '');
  const credential = createCredential(url, options.apiKey);
  const connection = openConnection({ url, prefix: '/api/v1' }, credential, patience, note);
  // At the start somebody is there to mend a wrong address.
  const soon = { ...patience, outageMs: Math.min(patience.outageMs, greetingMs) };
  const greeting = openConnection({ url, prefix: '/api/v1' }, credential, soon, note);
  const { isCompressed } = await greet(greeting, credential, baseModel);
  const session = await openSession(connection, note);
  const profile = { ...profiles[server], dialect: options.dialect ?? profiles[server].dialect };
  let samplers = 0;
  return new TinkerService({
    ...{ connection, session, profile, isCompressed, baseModel, gates: openGates() },
    fixedAdam: { ...profile.fixedAdam, ...given(options.adam ?? {}) },
    ...{ limits: options.limits, note },
    decode: options.decode,
    nextSampler: () => ++samplers,
    sampling: createStopwatch(),
    training: createStopwatch(),
  });
}

/**
 * A server trains its own model whatever a client asks for, so the name is compared before anything is trained.
 *
 * @returns whether the server takes compressed passes
 */
async function greet(
  connection: Connection,
  credential: KeyCredential,
  baseModel: string,
): Promise<{ readonly isCompressed: boolean }> {
  const configuration = { method: 'POST', path: '/client/config', what: 'client/config' } as const;
  const flags = await connection.call({ ...configuration, body: sdkVersionBody() });
  const known = flags.status === 404 ? { json: {}, status: 200, detail: '' } : flags;
  const configured = readReply(known, configurationReply, 'client/config');
  if (configured.pjwt_auth_enabled) credential.exchangeKey();
  const what = 'get_server_capabilities';
  const reply = await connection.call({ method: 'GET', path: `/${what}`, what });
  const models = readGreeting(reply, capabilitiesReply, {
    what,
    server: `a server of the Tinker protocol at ${connection.url}`,
    advice: 'service.url, which ends before /api/v1',
  }).supported_models;
  const names = models.map(({ model_name }) => model_name);
  if (names.includes(baseModel)) return { isCompressed: configured.proto_compress_fwdbwd };
  throw new BoundaryError(
    'engine',
    `the server at ${connection.url} has no model "${baseModel}", it has ${names.join(', ') || 'none'}; name one of these as baseModel, or start the server with yours`,
  );
}

class TinkerService implements TrainingService {
  readonly #room: ServerRoom;
  readonly #policies = new Map<string, TinkerPolicy>();
  readonly #ids = new Set<string>();
  /** Models are made one after another: some servers build their trainer at the first. */
  #creation: Promise<unknown> = Promise.resolve();
  #models = 0;
  #sharedRank: number | undefined;
  #closing: Promise<void> | undefined;

  constructor(room: ServerRoom) {
    this.#room = room;
  }

  readonly createPolicy = async (options: PolicyOptions): Promise<Policy> => {
    this.#checkOpen();
    const { id } = options;
    if (this.#ids.has(id)) {
      throw new BoundaryError('engine', `There is a policy "${id}" already; give each its own id`);
    }
    this.#ids.add(id);
    try {
      return await this.#inTurn(() => this.#openPolicy(options));
    } catch (error) {
      this.#ids.delete(id);
      throw error;
    }
  };

  readonly baseSampler: TrainingService['baseSampler'] = async () => {
    this.#checkOpen();
    const { session, connection, baseModel, profile } = this.#room;
    if (!profile.hasBaseSampler) return this.#untrainedSampler();
    const what = 'create_sampling_session';
    const body = jsonBody({
      ...{ session_id: session.id, base_model: baseModel },
      sampling_session_seq_id: this.#room.nextSampler(),
    });
    const reply = await connection.call({ method: 'POST', path: `/${what}`, what, body });
    const sessionId = readReply(reply, samplingSessionReply, what).sampling_session_id;
    const source = { sessionId, acquire: () => undefined, release: () => undefined };
    return createTinkerSampler(this.#room, { policyId: undefined, version: 0 }, source);
  };

  readonly counters: TrainingService['counters'] = () => ({
    sampledTokens: this.#room.sampling.tokens(),
    trainedTokens: this.#room.training.tokens(),
    sampleSeconds: this.#room.sampling.seconds(),
    trainSeconds: this.#room.training.seconds(),
  });

  readonly close = (): Promise<void> => {
    this.#closing ??= this.#close();
    return this.#closing;
  };

  /** A model that is being made has no name yet: that one goes with the session. */
  readonly abandon = async (): Promise<void> => {
    this.#room.session.close();
    const attempt = this.#room.connection.freeze();
    await Promise.all([...this.#policies.values()].map((policy) => policy.unload(attempt)));
  };

  async #close(): Promise<void> {
    this.#room.session.close();
    await Promise.all([...this.#policies.values()].map((policy) => policy.close()));
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new BoundaryError('engine', 'The service is closed');
  }

  #inTurn<Result>(create: () => Promise<Result>): Promise<Result> {
    const created = this.#creation.then(create);
    this.#creation = created.catch(() => undefined);
    return created;
  }

  /** The base under the name of an adapter that is never trained, which changes nothing. */
  async #untrainedSampler(): Promise<Awaited<ReturnType<TrainingService['baseSampler']>>> {
    const id = '(base)';
    if (!this.#policies.has(id)) {
      await this.createPolicy({ id, seed: 0, rank: this.#sharedRank ?? untrainedRank });
    }
    const sampler = await (this.#policies.get(id) as TinkerPolicy).publish().result;
    return { ...sampler, policyId: undefined };
  }

  async #openPolicy(options: PolicyOptions): Promise<Policy> {
    const { id, from } = options;
    const { profile } = this.#room;
    const state = from === undefined ? undefined : await readServerState(from.directory);
    const rank = rankOf(options, state);
    refuseUnservable({ ...options, rank }, profile);
    if (profile.isRankShared && this.#sharedRank !== undefined && this.#sharedRank !== rank) {
      throw new BoundaryError(
        'engine',
        `${profile.name} has adapters of one rank only: policy "${id}" of rank ${rank} cannot stand beside one of rank ${this.#sharedRank}`,
      );
    }
    const optimizer = from?.optimizer === true;
    const loaded = state && { path: state.path, optimizer };
    const { modelId, requests } = await this.#makeModel(options, rank, loaded);
    this.#sharedRank ??= rank;
    const onClose = () => {
      this.#policies.delete(id);
      this.#ids.delete(id);
    };
    const version = optimizer ? (state?.steps ?? 0) : 0;
    const parts = { id, modelId, rank, version, room: this.#room, requests, onClose };
    const policy = new TinkerPolicy(parts);
    this.#policies.set(id, policy);
    this.#checkOpen();
    return policy;
  }

  async #makeModel(
    { id, seed }: PolicyOptions,
    rank: number,
    loaded: { readonly path: string; readonly optimizer: boolean } | undefined,
  ) {
    const { profile, connection, note } = this.#room;
    const make = () => this.#requestModel({ id, seed, rank });
    const { modelId, alpha } = await awaitPlace(make, { patience: connection.patience, note });
    if (alpha !== undefined && alpha !== null && alpha !== profile.alpha(rank)) {
      throw new BoundaryError(
        'engine',
        `the server made policy "${id}" with alpha ${alpha}; ${profile.name} was expected to use ${profile.alpha(rank)}: is it another kind of server?`,
      );
    }
    const requests = new SequencedRequests(this.#room);
    if (loaded !== undefined) await this.#load(requests, { id, modelId, ...loaded });
    return { modelId, requests };
  }

  async #requestModel({
    id,
    seed,
    rank,
  }: Pick<PolicyOptions, 'id' | 'seed'> & { readonly rank: number }) {
    const { connection, session, baseModel } = this.#room;
    const what = `create_model for policy "${id}"`;
    const lora = { rank, seed, train_attn: true, train_mlp: true, train_unembed: false };
    const body = jsonBody({
      ...{ session_id: session.id, model_seq_id: ++this.#models, base_model: baseModel },
      lora_config: lora,
    });
    const reply = await connection.call({ method: 'POST', path: '/create_model', what, body });
    const { model_id: modelId, request_id: requestId } = readReply(reply, modelReply, what);
    const made = await awaitResult(connection, { requestId, what });
    return { modelId, alpha: readReply(made, createdModelReply, what).lora_config?.alpha };
  }

  async #load(
    requests: SequencedRequests,
    from: {
      readonly id: string;
      readonly modelId: string;
      readonly path: string;
      readonly optimizer: boolean;
    },
  ): Promise<void> {
    const { path, optimizer } = from;
    const what = `load_weights for policy "${from.id}"`;
    const sent = await requests.send((sequence) => ({
      ...{ what, path: '/load_weights' },
      body: jsonBody({ model_id: from.modelId, path, optimizer, seq_id: sequence }),
    }));
    await sent.result();
  }
}

/** Of the adapter that stands for the base, where no policy has set the rank yet. */
const untrainedRank = 32;

function rankOf({ id, rank, from }: PolicyOptions, state: ServerState | undefined): number {
  if (rank === 'full') {
    throw new BoundaryError(
      'engine',
      `policy "${id}": the Tinker protocol trains LoRA adapters, not the base itself; give a rank`,
    );
  }
  if (rank === 'stored') {
    if (state !== undefined) return state.rank;
    throw new BoundaryError('engine', `policy "${id}": rank "stored" needs a folder in \`from\``);
  }
  if (state === undefined || state.rank === rank) return rank;
  throw new BoundaryError(
    'engine',
    `${from?.directory} has rank ${state.rank}; expected rank ${rank}`,
  );
}

/** Refuses what a server would silently do in another way. */
function refuseUnservable(
  { id, alpha, rank, targets, valueHead }: PolicyOptions & { readonly rank: number },
  profile: Profile,
): void {
  const refuse = (what: string): never => {
    throw new BoundaryError('engine', `policy "${id}": ${what}`);
  };
  if (valueHead === true)
    refuse(
      'a server of the Tinker protocol trains no value head beside a policy; set method.critic=false',
    );
  if (targets !== undefined) {
    refuse(
      'the server puts adapters on all linear modules of attention and MLP; leave out adapter.targets',
    );
  }
  const fixed = profile.alpha(rank);
  if (alpha !== undefined && alpha !== fixed) {
    refuse(
      `${profile.name} scales an adapter of rank ${rank} with alpha ${fixed}; set adapter.alpha=${fixed}`,
    );
  }
}
