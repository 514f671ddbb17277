import type { AdamW } from '../../engine/optimizer.ts';
import { BoundaryError } from '../../errors.ts';
import type {
  Adam,
  Datum,
  Loss,
  PassResult,
  Policy,
  Sampler,
} from '../../types/training-service.ts';
import { checkData } from './check-data.ts';
import type { EngineRoom } from './engine-room.ts';
import { baseLease, createLocalSampler } from './local-sampler.ts';
import { storeOptimizer } from './optimizer-file.ts';
import { writeFolder } from './policy-files.ts';
import { runPass } from './run-pass.ts';
import type { Trainable } from './trainable.ts';
import type { UnitsOfWork, WorkQueue } from './work-queue.ts';

/** What a policy is made of; it owns the trainable and the optimiser. */
export type PolicyParts = {
  readonly id: string;
  /** Finished optimiser steps so far. */
  readonly version: number;
  readonly room: EngineRoom;
  readonly queue: WorkQueue;
  readonly trainable: Trainable;
  readonly optimizer: AdamW;
  /** Called once, when the policy is closed. */
  readonly onClose: () => void;
};

/** `partial`: a pass failed midway, so the sum misses some of its data. */
type Gradient = 'none' | 'whole' | 'partial';

/** One policy of the local service: a queue of work in submission order over one set of weights. */
export class LocalPolicy implements Policy {
  readonly id: string;
  readonly #parts: PolicyParts;
  #version: number;
  #gradient: Gradient = 'none';
  /** Shared by all samplers of the newest version. */
  #snapshot: ReturnType<Trainable['snapshot']> | undefined;
  #isClosed = false;

  constructor(parts: PolicyParts) {
    this.id = parts.id;
    this.#parts = parts;
    this.#version = parts.version;
  }

  readonly version = (): number => this.#version;

  readonly forward: Policy['forward'] = (data) => this.#parts.queue.submit(() => this.#pass(data));

  readonly forwardBackward: Policy['forwardBackward'] = (data, loss) =>
    this.#parts.queue.submit(() => this.#pass(data, loss));

  readonly optimStep: Policy['optimStep'] = (adam) =>
    this.#parts.queue.submit(() => this.#optimStep(adam));

  readonly publish: Policy['publish'] = () => this.#parts.queue.submit(() => this.#publish());

  readonly saveState: Policy['saveState'] = (directory) =>
    this.#parts.queue.submit(() => this.#save(directory, { withOptimizer: true }));

  readonly exportAdapter: Policy['exportAdapter'] = (directory) =>
    this.#parts.queue.submit(() => this.#save(directory, { withOptimizer: false })).result;

  /** Refuses what waits in the queue and frees weights and optimiser; samplers live on. */
  readonly close = async (): Promise<void> => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.queue.close(`The policy "${this.id}" is closed`);
    this.#snapshot?.retire();
    this.#parts.optimizer.dispose();
    this.#parts.trainable.dispose();
    this.#parts.onClose();
  };

  *#pass(data: readonly Datum[], loss?: Loss): UnitsOfWork<PassResult> {
    const { room, trainable } = this.#parts;
    checkData(data, room.decoder.config, loss);
    if (loss?.kind === 'value' && trainable.valueHead === undefined) {
      throw new BoundaryError(
        'engine',
        `the loss "value" trains a value head, and the policy "${this.id}" has none; create it with valueHead: true`,
      );
    }
    const { decoder, microBatchTokens, isCheckpointed, noteActivations } = room;
    const { adapter, valueHead } = trainable;
    const limits = { microBatchTokens, isCheckpointed, noteActivations };
    const pass = { decoder, adapter, valueHead, data, ...limits };
    if (loss === undefined) {
      return yield* runPass(this.#isBase() ? { ...pass, adapter: undefined } : pass);
    }
    const before = this.#gradient;
    this.#gradient = 'partial';
    const onMicroBatch = () => this.#parts.optimizer.collect();
    const result = yield* runPass({ ...pass, loss, onMicroBatch });
    this.#gradient = before === 'partial' ? 'partial' : 'whole';
    room.countTrained(result.metrics.tokens ?? 0);
    return result;
  }

  #isBase(): boolean {
    return this.#parts.trainable.startsAsBase && this.#version === 0;
  }

  *#optimStep(adam: Adam): UnitsOfWork<{ readonly gradNorm: number }> {
    const { trainable, optimizer } = this.#parts;
    if (this.#gradient === 'none') {
      throw new BoundaryError(
        'engine',
        `optimStep of policy "${this.id}" has no gradient; call forwardBackward first`,
      );
    }
    if (this.#gradient === 'partial') {
      optimizer.zeroGrad();
      this.#gradient = 'none';
      throw new BoundaryError(
        'engine',
        `The gradient of policy "${this.id}" was dropped because a forwardBackward failed midway; repeat the pass`,
      );
    }
    // A step over a decoder in use would change a sequence's weights in its middle.
    while (trainable.users() > 0) yield;
    this.#snapshot?.retire();
    this.#snapshot = undefined;
    const { gradNorm } = this.#applyGradient(adam);
    this.#version += 1;
    return { gradNorm };
  }

  /** The gradient is gone afterwards, even if the step was refused: one that is not finite must not meet the next. */
  #applyGradient(adam: Adam): { readonly gradNorm: number } {
    const { optimizer } = this.#parts;
    try {
      return optimizer.step(adam);
    } finally {
      optimizer.zeroGrad();
      this.#gradient = 'none';
    }
  }

  // biome-ignore lint/correctness/useYield: one unit of work, in the form the queue takes.
  *#publish(): UnitsOfWork<Sampler> {
    const { room, trainable } = this.#parts;
    this.#snapshot ??= this.#isBase() ? baseLease : trainable.snapshot();
    const identity = { policyId: this.id, version: this.#version };
    return createLocalSampler(room, identity, this.#snapshot);
  }

  *#save(
    directory: string,
    { withOptimizer }: { readonly withOptimizer: boolean },
  ): UnitsOfWork<void> {
    const { trainable, optimizer } = this.#parts;
    if (withOptimizer && this.#gradient !== 'none') {
      throw new BoundaryError(
        'engine',
        `saveState of policy "${this.id}" would lose a gradient that no optimStep has used; step first`,
      );
    }
    const writeWeights = trainable.store();
    const writeOptimizer = withOptimizer ? storeOptimizer(optimizer) : undefined;
    return writeFolder(directory, async (aside) => {
      await writeWeights(aside);
      await writeOptimizer?.(aside);
    });
  }
}
