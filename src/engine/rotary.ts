import { aten } from './aten.ts';
import type { ModelConfig } from './model-config.ts';
import { convert, indexSelect, unsqueeze } from './ops.ts';
import { keep, tidy } from './scope.ts';
import { type Device, type DType, type Tensor, tensorOf } from './tensor.ts';

/** Cosines and signed sines: of some tokens [tokens, 1, headDim], or of all positions [positions, headDim]. */
export type Rotation = { readonly cos: Tensor; readonly sin: Tensor };

/**
 * Angle per position of each pair of a head's elements, as float32 like transformers computes it.
 *
 * @returns headDim / 2 frequencies in radians per position
 * @see transformers modeling_rope_utils.py, `default`, `linear` and `llama3`
 */
export function rotaryFrequencies(config: ModelConfig): Float32Array {
  const frequencies = new Float32Array(config.headDim / 2);
  for (let pair = 0; pair < frequencies.length; pair++) {
    const exponent = Math.fround((2 * pair) / config.headDim);
    const frequency = Math.fround(1 / Math.fround(config.ropeTheta ** exponent));
    frequencies[pair] = scaleFrequency(frequency, config.ropeScaling);
  }
  return frequencies;
}

function scaleFrequency(frequency: number, scaling: ModelConfig['ropeScaling']): number {
  if (scaling.kind === 'none') return frequency;
  if (scaling.kind === 'linear') return frequency / scaling.factor;
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < originalMaxPositions / highFreqFactor) return frequency;
  if (wavelength > originalMaxPositions / lowFreqFactor) return frequency / factor;
  const smooth =
    (originalMaxPositions / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** Cosines and sines of all positions seen so far; grows by doubling. */
export class RotaryTable {
  readonly #frequencies: Float32Array;
  readonly #headDim: number;
  readonly #placement: { readonly dtype: DType; readonly device: Device };
  #length = 0;
  #table: Rotation | undefined;

  constructor(config: ModelConfig, placement: { readonly dtype: DType; readonly device: Device }) {
    this.#frequencies = rotaryFrequencies(config);
    this.#headDim = config.headDim;
    this.#placement = placement;
  }

  /**
   * The rotation at given positions.
   *
   * @param positions int64 [tokens], all smaller than `length`
   */
  at(positions: Tensor, length: number): Rotation {
    const table = this.upTo(length);
    return {
      cos: unsqueeze(indexSelect(table.cos, 0, positions), 1),
      sin: unsqueeze(indexSelect(table.sin, 0, positions), 1),
    };
  }

  dispose(): void {
    this.#table?.cos.dispose();
    this.#table?.sin.dispose();
    this.#table = undefined;
    this.#length = 0;
  }

  /** Rows for all positions below `length` and maybe more: [positions, headDim] each. Stays the table's. */
  upTo(length: number): Rotation {
    if (this.#table !== undefined && length <= this.#length) return this.#table;
    const grown = Math.max(256, 2 ** Math.ceil(Math.log2(length)));
    this.dispose();
    const table = this.#build(grown);
    this.#table = table;
    this.#length = grown;
    return table;
  }

  #build(length: number): Rotation {
    const half = this.#headDim / 2;
    const cos = new Float32Array(length * this.#headDim);
    const sin = new Float32Array(length * this.#headDim);
    for (let position = 0; position < length; position++) {
      for (let pair = 0; pair < half; pair++) {
        const angle = Math.fround(position * (this.#frequencies[pair] ?? 0));
        const at = position * this.#headDim + pair;
        cos[at] = cos[at + half] = Math.cos(angle);
        sin[at] = -Math.sin(angle);
        sin[at + half] = Math.sin(angle);
      }
    }
    const place = (values: Float32Array) =>
      keep(tidy(() => convert(tensorOf(values, [length, this.#headDim]), this.#placement)));
    return { cos: place(cos), sin: place(sin) };
  }
}

/**
 * Rotates the two halves of every head by the token's position.
 *
 * @param heads [tokens, heads, headDim]
 */
export function rotate(heads: Tensor, rotation: Rotation, headDim: number): Tensor {
  // With the halves swapped and the sine's sign in the table, the rotation is x·cos + swap(x)·sin.
  const swapped = aten('roll', heads, [headDim / 2], [-1]);
  return aten('addcmul', aten('mul.Tensor', heads, rotation.cos), swapped, rotation.sin);
}
