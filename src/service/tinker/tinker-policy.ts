import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BoundaryError } from '../../errors.ts';
import type {
  Adam,
  Datum,
  Loss,
  PassResult,
  Policy,
  Sampler,
} from '../../types/training-service.ts';
import { checkData } from '../local/check-data.ts';
import { writeFolder } from '../local/policy-files.ts';
import { adamParameters } from './adam-parameters.ts';
import { fetchAdapterFiles } from './adapter-files.ts';
import type { Connection } from './connection.ts';
import { callOfPass, chunkData, sizeOf } from './encode-data.ts';
import {
  crossEntropyDatum,
  evaluateLoss,
  gradientDatum,
  type ServerLoss,
  serverLoss,
} from './evaluate-loss.ts';
import type { SentDatum } from './protobuf.ts';
import { readPass } from './read-pass.ts';
import { readReply, samplingSessionReply, savedReply, stepReply } from './replies.ts';
import type { Sent, SequencedRequests } from './sequenced-requests.ts';
import type { ServerRoom } from './server-room.ts';
import { writeServerState } from './server-state.ts';
import { jsonBody } from './session.ts';
import { createSubmissionQueue, type Submitted } from './submission-queue.ts';
import { createTinkerSampler } from './tinker-sampler.ts';

/** A model that a server has made or loaded. */
export type PolicyParts = {
  readonly id: string;
  readonly modelId: string;
  readonly rank: number;
  /** Finished optimiser steps so far. */
  readonly version: number;
  readonly room: ServerRoom;
  readonly requests: SequencedRequests;
  readonly onClose: () => void;
};

/** A gradient that was computed here and waits for the step. */
type HeldGradient = {
  readonly datum: Datum;
  readonly logprobs: Float32Array;
  readonly slopes: Float32Array;
};

/** One adapter on a training server. */
export class TinkerPolicy implements Policy {
  readonly id: string;
  readonly #parts: PolicyParts;
  readonly #queue = createSubmissionQueue();
  /** Finished steps, and those that the server has been sent. */
  #version: number;
  #sentSteps: number;
  #hasGradient = false;
  readonly #held: HeldGradient[] = [];
  #published: { readonly version: number; readonly sampler: Promise<Sampler> } | undefined;
  #isStepping = false;
  /** Samples under way, and who waits for their end. */
  #samples = 0;
  #onIdle: (() => void) | undefined;
  #isClosed = false;

  constructor(parts: PolicyParts) {
    this.id = parts.id;
    this.#parts = parts;
    this.#version = parts.version;
    this.#sentSteps = parts.version;
  }

  readonly version = (): number => this.#version;

  readonly forward: Policy['forward'] = (data) =>
    this.#queue.submit(async () => {
      this.#check();
      checkData(data, this.#parts.room.limits);
      const { result } = await this.#sendForward(data);
      return { result: result.then((rows) => forwardResult(data, rows)) };
    });

  readonly forwardBackward: Policy['forwardBackward'] = (data, loss) =>
    this.#queue.submit(async () => {
      this.#check();
      checkData(data, this.#parts.room.limits, loss);
      const { profile } = this.#parts.room;
      const native = serverLoss(data, loss, profile);
      const sent = native
        ? await this.#sendPass(native.data, native)
        : await this.#sendComputed(data, loss);
      this.#hasGradient = true;
      return { result: sent.result.then((rows) => this.#passResult(data, rows, loss)) };
    });

  readonly optimStep: Policy['optimStep'] = (adam) =>
    this.#queue.submit(() => this.#optimStep(adam));

  readonly publish: Policy['publish'] = () => this.#queue.submit(() => this.#publish());

  readonly saveState: Policy['saveState'] = (directory) =>
    this.#queue.submit(async () => {
      this.#check();
      if (this.#hasGradient) {
        throw new BoundaryError(
          'engine',
          `saveState of policy "${this.id}" would lose a gradient that no optimStep has used; step first`,
        );
      }
      await writeFolder(directory, (aside) => this.#saveOnServer(aside));
      return { result: Promise.resolve() };
    });

  readonly exportAdapter: Policy['exportAdapter'] = (directory) =>
    this.#queue.submit(async () => {
      this.#check();
      const { profile } = this.#parts.room;
      if (!profile.hasAdapterFiles) {
        throw new BoundaryError(
          'engine',
          `${profile.name} gives no adapter files, only whole merged models; use its saved states`,
        );
      }
      await writeFolder(directory, async (aside) => {
        await this.#saveOnServer(aside);
        await this.#fetchAdapter(aside);
      });
      return { result: Promise.resolve() };
    }).result;

  readonly close = async (): Promise<void> => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.close(`The policy "${this.id}" is closed`);
    this.#parts.onClose();
    await this.unload(this.#parts.room.connection.attempt);
  };

  /** Frees the adapter's place on the server, where that still answers; it does so itself when a session ends. */
  readonly unload = async (attempt: Connection['attempt']): Promise<void> => {
    const { room, modelId } = this.#parts;
    const body = jsonBody({ model_id: modelId });
    const call = {
      method: 'POST',
      path: '/unload_model',
      what: `closing "${this.id}"`,
      body,
    } as const;
    await attempt(call, room.connection.patience.farewellMs);
  };

  #check(): void {
    this.#parts.requests.check(`policy "${this.id}"`);
  }

  #what(operation: string): string {
    return `${operation} of policy "${this.id}"`;
  }

  /** Log-probabilities, a row per datum. */
  #sendForward(data: readonly Datum[]): Promise<Submitted<readonly Float32Array[]>> {
    return this.#sendPass(data.map(crossEntropyDatum), undefined);
  }

  /** @param loss absent for a forward pass */
  async #sendPass(
    data: readonly SentDatum[],
    loss: ServerLoss | undefined,
  ): Promise<Submitted<readonly Float32Array[]>> {
    const { room, requests, modelId } = this.#parts;
    const { isCompressed, gates } = room;
    const { dialect } = room.profile;
    const what = this.#what(loss === undefined ? 'forward' : 'forward_backward');
    const results: Promise<readonly Float32Array[]>[] = [];
    for (const chunk of chunkData(data, dialect)) {
      const bytes = chunk.reduce((sum, datum) => sum + sizeOf(datum, dialect), 0);
      const send = () =>
        requests.send((sequence) => ({
          what,
          ...callOfPass(
            {
              ...{ modelId, sequence, data: chunk, lossConfig: loss?.config ?? {} },
              ...{ loss: loss?.name ?? 'cross_entropy', isForwardOnly: loss === undefined },
            },
            { dialect, isCompressed },
          ),
        }));
      const sent = await gates.passes.during(bytes, send).catch((error: unknown) => {
        // The chunks before it are in a gradient that the server cannot take back.
        if (loss !== undefined && results.length > 0) requests.lose(error);
        throw error;
      });
      const result = room.training
        .during(sent.result)
        .then((reply) => readPass(reply, chunk, what));
      results.push(loss === undefined ? result : this.#losing(result));
    }
    return { result: Promise.all(results).then((rows) => rows.flat()) };
  }

  /** A gradient of part of the data must not meet a step: whether the server has it is unknown. */
  #losing<Result>(result: Promise<Result>): Promise<Result> {
    const guarded = result.catch((error: unknown) => {
      this.#parts.requests.lose(error);
      throw error;
    });
    guarded.catch(() => undefined);
    return guarded;
  }

  /** A loss that is computed here, from a forward pass; its gradient is sent after that, or at the step. */
  async #sendComputed(
    data: readonly Datum[],
    loss: Loss,
  ): Promise<Submitted<readonly Float32Array[]>> {
    const rows = await (await this.#sendForward(data)).result;
    const { slopes } = evaluateLoss(data, rows, loss);
    const gradients = data.map((datum, row) => ({
      datum,
      logprobs: rows[row] as Float32Array,
      slopes: slopes[row] as Float32Array,
    }));
    if (this.#parts.room.profile.reduction === 'sequence-mean') this.#held.push(...gradients);
    else await this.#sendGradients(gradients, () => 1);
    return { result: Promise.resolve(rows) };
  }

  async #sendGradients(
    gradients: readonly HeldGradient[],
    scaleOf: (datum: Datum) => number,
  ): Promise<void> {
    const data = gradients.map((each) => gradientDatum(each.datum, each, scaleOf(each.datum)));
    const { result } = await this.#sendPass(data, { name: 'importance_sampling', config: {} });
    // Its log-probabilities are known; a failure is remembered, and stops the next request.
    result.catch(() => undefined);
  }

  /** Takes back the mean over datums of means over tokens, which counts datums since the last step. */
  async #sendHeld(): Promise<void> {
    const held = this.#held.splice(0);
    const moving = held.filter(({ slopes }) => slopes.some((slope) => slope !== 0));
    const sent = moving.length > 0 ? moving : held.slice(0, 1);
    if (sent.length === 0) return;
    await this.#sendGradients(sent, ({ input }) => sent.length * input.length);
  }

  #passResult(data: readonly Datum[], rows: readonly Float32Array[], loss: Loss): PassResult {
    const { metrics } = evaluateLoss(data, rows, loss);
    this.#parts.room.training.count(metrics.tokens ?? 0);
    return { logprobs: masked(data, rows), metrics };
  }

  async #optimStep(adam: Adam): Promise<Submitted<{ readonly gradNorm?: number }>> {
    this.#check();
    const { room, requests, modelId } = this.#parts;
    if (!this.#hasGradient) {
      throw new BoundaryError(
        'engine',
        `optimStep of policy "${this.id}" has no gradient; call forwardBackward first`,
      );
    }
    const adam_params = adamParameters(adam, room);
    const what = this.#what('optim_step');
    this.#isStepping = true;
    try {
      if (!room.profile.isSnapshot) await this.#samplesEnded();
      await this.#sendHeld();
      const sent = await requests.send((sequence) => ({
        ...{ what, path: '/optim_step' },
        body: jsonBody({ model_id: modelId, seq_id: sequence, adam_params }),
      }));
      this.#hasGradient = false;
      this.#sentSteps += 1;
      return { result: this.#losing(this.#stepResult(sent, what)) };
    } finally {
      this.#isStepping = false;
    }
  }

  async #stepResult(sent: Sent, what: string): Promise<{ readonly gradNorm?: number }> {
    const reply = await this.#parts.room.training.during(sent.result);
    const { metrics } = readReply(reply, stepReply, what);
    // Of a pass before it that failed, too: the step was then taken on part of the data.
    this.#check();
    this.#version += 1;
    const gradNorm = metrics?.['skyrl.ai/grad_norm'] ?? metrics?.grad_norm;
    return gradNorm === undefined ? {} : { gradNorm };
  }

  #samplesEnded(): Promise<void> {
    if (this.#samples === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  async #publish(): Promise<Submitted<Sampler>> {
    this.#check();
    const version = this.#sentSteps;
    if (this.#published?.version !== version) {
      const saved = await this.#saveForSampler();
      const sampler = saved.result.then((sessionId) => this.#samplerOf(sessionId, version));
      this.#published = { version, sampler };
      sampler.catch(() => {
        this.#published = undefined;
      });
    }
    return { result: this.#published.sampler };
  }

  #samplerOf(sessionId: string, version: number): Sampler {
    const { room } = this.#parts;
    const acquire = () => {
      const isNewest = version === this.#sentSteps && !this.#isStepping;
      if (room.profile.isSnapshot || isNewest) {
        this.#samples += 1;
        return;
      }
      throw new BoundaryError(
        'engine',
        `${room.profile.name} keeps only the newest weights of policy "${this.id}", and version ${version} was trained on since; publish again`,
      );
    };
    const release = () => {
      this.#samples -= 1;
      if (this.#samples === 0) this.#onIdle?.();
    };
    const source = { sessionId, acquire, release };
    return createTinkerSampler(room, { policyId: this.id, version }, source);
  }

  async #saveForSampler(): Promise<Submitted<string>> {
    const { room, modelId } = this.#parts;
    const what = this.#what('save_weights_for_sampler');
    const sent = await this.#parts.requests.sendNamed((sequence) => ({
      ...{ what, path: '/save_weights_for_sampler' },
      body: jsonBody({
        ...{ model_id: modelId, seq_id: sequence },
        sampling_session_seq_id: room.nextSampler(),
      }),
    }));
    const result = sent.result().then((reply) => {
      return readReply(reply, samplingSessionReply, what).sampling_session_id;
    });
    return { result };
  }

  async #saveNamed(path: '/save_weights' | '/save_weights_for_sampler'): Promise<string> {
    const what = this.#what(path.slice(1));
    const sent = await this.#parts.requests.sendNamed((sequence) => ({
      ...{ what, path },
      body: jsonBody({
        ...{ model_id: this.#parts.modelId, seq_id: sequence },
        path: `step-${this.#sentSteps}-${crypto.randomUUID().slice(0, 8)}`,
      }),
    }));
    return readReply(await sent.result(), savedReply, what).path;
  }

  async #saveOnServer(directory: string): Promise<void> {
    const { room, rank } = this.#parts;
    const path = await this.#saveNamed('/save_weights');
    const { baseModel, profile } = room;
    const alpha = profile.alpha(rank);
    await writeServerState(directory, { path, baseModel, rank, alpha, steps: this.#sentSteps });
  }

  async #fetchAdapter(directory: string): Promise<void> {
    const path = await this.#saveNamed('/save_weights_for_sampler');
    const files = await fetchAdapterFiles(this.#parts.room.connection, path);
    for (const [name, bytes] of files) await writeFile(join(directory, name), bytes);
  }
}

function forwardResult(data: readonly Datum[], rows: readonly Float32Array[]): PassResult {
  const logprobs = masked(data, rows);
  const tokens = logprobs.reduce(
    (sum, row) => sum + row.filter((each) => !Number.isNaN(each)).length,
    0,
  );
  return { logprobs, metrics: { tokens } };
}

/** NaN where the weight is 0. */
function masked(data: readonly Datum[], rows: readonly Float32Array[]): Float32Array[] {
  return rows.map((row, index) => {
    const weights = data[index]?.weights;
    return row.map((each, at) => (weights?.[at] === 0 ? Number.NaN : each));
  });
}
