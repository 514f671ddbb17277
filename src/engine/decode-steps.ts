import { BoundaryError } from '../errors.ts';
import { aten } from './aten.ts';
import { attend } from './attention.ts';
import { type Decoder, type LayerHeads, logitsOf, runLayers } from './decoder.ts';
import type { KvCache } from './kv-cache.ts';
import { type LoraBank, loraOfEach } from './lora.ts';
import { arange, copyTo, empty, indexSelect, narrow, reshape, unsqueeze, zeros } from './ops.ts';
import type { Rotation } from './rotary.ts';
import { keep, tidy } from './scope.ts';
import type { Recording, StepRecorder } from './step-recorder.ts';
import { indexTensor, type Tensor } from './tensor.ts';

/** One token for each of the first slots of a cache. */
export type DecodeBatch = {
  /** How many slots. */
  readonly rows: number;
  /** Positions of a slot that are read: those beyond a row's own are masked. */
  readonly length: number;
  /** Adapters of the batch; absent = the base alone. */
  readonly bank: LoraBank | undefined;
  /** Per row: the token that is fed, its index in the row, and its adapter as `rowInBank` says. */
  readonly tokens: readonly number[];
  readonly positions: readonly number[];
  readonly owners: readonly number[];
};

/** What every step over one allocation of the cache uses; it stays where it is. */
type Ground = {
  /** float32 [slots, vocabSize]: where every step leaves its logits. */
  readonly logits: Tensor;
  /** int64 [positions]: 0, 1, … */
  readonly indices: Tensor;
  /** [positions, headDim] */
  readonly rotation: Rotation;
};

/** Steps of one shape: the same tensors, so the same work, every time. */
type Frame = Pick<DecodeBatch, 'rows' | 'length' | 'bank'> & {
  /** int64 [4, rows]: tokens, positions, places in the cache, owners; written before every step. */
  readonly inputs: Tensor;
  /** Steps so far. */
  steps: number;
  recording: Recording | undefined;
};

/** Steps of a shape before it is recorded: one that is met less often is not worth it. */
const rehearsals = 2;

/** Recordings share their memory, but each still takes some of the device's. */
const maxFrames = 64;

/**
 * Decoding in fixed shapes: all that differs between two steps of as many rows and as long a cache is what one tensor holds,
 * from which the step derives masks, rotations and the adapters' factors on the device. So a device can record a step
 * once and do it again, and where it cannot, the same step runs operator by operator.
 */
export class DecodeSteps {
  readonly #decoder: Decoder;
  readonly #cache: KvCache;
  #recorder: StepRecorder | undefined;
  readonly #note: (text: string) => void;
  #ground: Ground | undefined;
  /** By shape; those used last at the end. */
  readonly #frames = new Map<string, Frame>();

  /** @param recorder absent = nothing is recorded; `note` is told when it fails, from when on nothing is, either */
  constructor(
    decoder: Decoder,
    cache: KvCache,
    recording: {
      readonly recorder?: StepRecorder | undefined;
      readonly note?: ((text: string) => void) | undefined;
    } = {},
  ) {
    this.#decoder = decoder;
    this.#cache = cache;
    this.#recorder = recording.recorder;
    this.#note = recording.note ?? (() => undefined);
  }

  /**
   * Runs one step.
   *
   * @returns float32 [rows, vocabSize], a view that the next step overwrites
   */
  run(batch: DecodeBatch): Tensor {
    // Before anything is recorded: what is made meanwhile belongs to the recording.
    const { logits } = this.#groundOf();
    const frame = this.#frameFor(batch);
    frame.inputs.copyFrom(this.#inputsOf(batch));
    if (!this.#runRecorded(frame)) this.#compute(frame);
    frame.steps++;
    return narrow(logits, 0, 0, batch.rows);
  }

  /** Must be called when the cache has moved. */
  forget(): void {
    for (const frame of this.#frames.values()) disposeFrame(frame);
    this.#frames.clear();
    if (this.#ground === undefined) return;
    const { logits, indices, rotation } = this.#ground;
    for (const tensor of [logits, indices, rotation.cos, rotation.sin]) tensor.dispose();
    this.#ground = undefined;
  }

  #frameFor({ rows, length, bank }: DecodeBatch): Frame {
    const shape = `${rows} ${length}`;
    const known = this.#frames.get(shape);
    this.#frames.delete(shape);
    if (known?.bank === bank && known !== undefined) {
      this.#frames.set(shape, known);
      return known;
    }
    if (known !== undefined) disposeFrame(known);
    const [[oldest, unused] = []] = this.#frames;
    if (oldest !== undefined && unused !== undefined && this.#frames.size >= maxFrames) {
      disposeFrame(unused);
      this.#frames.delete(oldest);
    }
    const inputs = keep(indexTensor(new Int32Array(4 * rows), [4, rows], this.#decoder.device));
    const frame: Frame = { rows, length, bank, inputs, steps: 0, recording: undefined };
    this.#frames.set(shape, frame);
    return frame;
  }

  /** The rows of `Frame.inputs`, as pairs of 32-bit words. */
  #inputsOf({ rows, tokens, positions, owners }: DecodeBatch): Int32Array {
    const words = new Int32Array(8 * rows);
    const put = (line: number, row: number, value: number): void => {
      words[2 * (line * rows + row)] = value;
    };
    for (let row = 0; row < rows; row++) {
      const position = positions[row] ?? 0;
      put(0, row, tokens[row] ?? 0);
      put(1, row, position);
      put(2, row, row * this.#cache.positions + position);
      put(3, row, owners[row] ?? 0);
    }
    return words;
  }

  /** @returns false where the step is still to be computed: nothing is recorded, or that has failed */
  #runRecorded(frame: Frame): boolean {
    const recorder = this.#recorder;
    if (recorder === undefined) return false;
    const compute = () => this.#compute(frame);
    try {
      if (frame.steps < rehearsals) {
        recorder.rehearse(compute);
      } else {
        frame.recording ??= recorder.record(compute);
        frame.recording.replay();
      }
      return true;
    } catch (error) {
      if (!(error instanceof BoundaryError)) throw error;
      // A step that was begun may be done again: it writes what it wrote. What else is wrong will show then.
      this.#recorder = undefined;
      this.#note(
        `recording a decode step failed, so every token is computed operator by operator from here on: ${error.message}`,
      );
      return false;
    }
  }

  /** From the frame's inputs to the logits, with nothing of the host's in between. */
  #compute(frame: Frame): void {
    const { logits, rotation } = this.#groundOf();
    tidy(() => {
      const column = (line: number) => aten('select.int', frame.inputs, 0, line);
      const [tokens, positions, places] = [column(0), column(1), column(2)];
      const mask = this.#visible(frame, positions);
      const at = (table: Tensor) => unsqueeze(indexSelect(table, 0, positions), 1);
      const hidden = runLayers(this.#decoder, {
        tokens,
        rotation: { cos: at(rotation.cos), sin: at(rotation.sin) },
        lora: frame.bank && loraOfEach(frame.bank, column(3)),
        attend: (layer, heads) => this.#attendCached(layer, heads, { ...frame, places, mask }),
      });
      copyTo(narrow(logits, 0, 0, frame.rows), logitsOf(this.#decoder, hidden));
    });
  }

  #attendCached(
    layer: number,
    heads: LayerHeads,
    step: Pick<Frame, 'rows' | 'length'> & { readonly places: Tensor; readonly mask: Tensor },
  ): Tensor {
    const { rows, length, places, mask } = step;
    this.#cache.write(layer, heads, places);
    const stored = this.#cache.view(layer, rows, length);
    // Query heads that share a key head stand as its queries, so that keys need not be repeated.
    const { keyValueHeads, heads: queryHeads, headDim } = this.#decoder.config;
    const shape = [rows, keyValueHeads, queryHeads / keyValueHeads, headDim];
    const query = reshape(heads.query, shape);
    const attended = attend({ query, ...stored }, { kind: 'mask', mask });
    return reshape(attended, [rows, queryHeads * headDim]);
  }

  /** [rows, 1, 1, length]: 0 for a row's own tokens, −∞ for what lies behind them. */
  #visible({ rows, length }: Frame, positions: Tensor): Tensor {
    const indices = narrow(this.#groundOf().indices, 0, 0, length);
    const isHidden = aten('gt.Tensor', indices, reshape(positions, [rows, 1, 1, 1]));
    const { dtype, device } = this.#decoder;
    const visible = zeros([rows, 1, 1, length], { dtype, device });
    return aten('masked_fill_.Scalar', visible, isHidden, Number.NEGATIVE_INFINITY);
  }

  #groundOf(): Ground {
    if (this.#ground !== undefined) return this.#ground;
    const { config, device, rotary } = this.#decoder;
    const { slots, positions } = this.#cache;
    const table = rotary.upTo(positions);
    // Views of its own: the table may grow, and is freed then.
    const own = (part: Tensor) => keep(narrow(part, 0, 0, positions));
    this.#ground = {
      logits: keep(empty([slots, config.vocabSize], { device })),
      indices: keep(arange(positions, { device })),
      rotation: { cos: own(table.cos), sin: own(table.sin) },
    };
    return this.#ground;
  }
}

function disposeFrame({ inputs, recording }: Frame): void {
  recording?.dispose();
  inputs.dispose();
}
