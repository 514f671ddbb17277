import { BoundaryError } from '../errors.ts';
import { callNative, type TypedArray } from './native.ts';
import { enterScope, type Scoped } from './scope.ts';

/** Element types, with libtorch's own numbers. */
const dtypeCodes = {
  uint8: 0,
  int8: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float16: 5,
  float32: 6,
  float64: 7,
  bool: 11,
  bfloat16: 15,
} as const;

export type DType = keyof typeof dtypeCodes;
export type Shape = readonly number[];
/** `cpu`, `cuda` or `cuda:<index>`. */
export type Device = string;

const dtypeNames: ReadonlyMap<number, DType> = new Map(
  Object.entries(dtypeCodes).map(([name, code]) => [code, name as DType]),
);

/** A dtype as operators take it. */
export function dtypeCode(dtype: DType): number {
  return dtypeCodes[dtype];
}

// A safety net for tensors that no scope owns and nobody disposed.
const forgotten = new FinalizationRegistry<number>((handle) => callNative('release', handle));

/**
 * A libtorch tensor. It lives until `dispose`, or until the `tidy` it was made in ends; using it after that throws
 * BoundaryError("engine").
 */
export class Tensor implements Scoped {
  scope: Scoped['scope'];
  #handle: number;
  #shape: Shape | undefined;
  #dtype: DType | undefined;

  /** @param handle a live handle that nothing else owns */
  constructor(handle: number) {
    this.#handle = handle;
    enterScope(this);
  }

  /** What the addon knows this tensor by. */
  get handle(): number {
    if (this.#handle === 0) {
      const shape = this.#shape === undefined ? '' : ` of shape [${this.#shape.join(',')}]`;
      throw new BoundaryError(
        'engine',
        `a tensor${shape} is used after it was freed: return it from its tidy() or keep() it`,
      );
    }
    return this.#handle;
  }

  /** How often the elements were written in place: two equal numbers mean that nothing has changed in between. */
  get writes(): number {
    return callNative('writes', this.handle);
  }

  get isDisposed(): boolean {
    return this.#handle === 0;
  }

  get shape(): Shape {
    this.#shape ??= callNative('shape', this.handle);
    return this.#shape;
  }

  get dtype(): DType {
    this.#dtype ??= dtypeNames.get(callNative('dtype', this.handle)) ?? unknownDType(this.handle);
    return this.#dtype;
  }

  get device(): Device {
    return callNative('device', this.handle);
  }

  /** Frees the memory now, unless other tensors or the autograd graph still need it; twice is harmless. */
  dispose(): void {
    if (this.#handle === 0) return;
    if (this.scope === undefined) forgotten.unregister(this);
    callNative('release', this.#handle);
    this.#handle = 0;
  }

  onKept(): void {
    forgotten.register(this, this.#handle, this);
  }

  /** The value of a tensor with one element. */
  item(): number {
    return callNative('item', this.handle);
  }

  /** A copy of the elements, row-major. @throws BoundaryError("engine") unless the dtype is float32 */
  toFloat32Array(): Float32Array {
    return this.copyInto(new Float32Array(this.elements('float32')));
  }

  /** A copy of the elements, row-major. @throws BoundaryError("engine") unless the dtype is int64 */
  toBigInt64Array(): BigInt64Array {
    return this.copyInto(new BigInt64Array(this.elements('int64')));
  }

  /** A copy of the elements, row-major. @throws BoundaryError("engine") unless the dtype is int32 */
  toInt32Array(): Int32Array {
    return this.copyInto(new Int32Array(this.elements('int32')));
  }

  /** A copy of the elements' bytes, row-major, in the tensor's own dtype. */
  toBytes(): Uint8Array {
    return this.copyInto(new Uint8Array(elementsOf(this.shape) * bytesPerElement(this.dtype)));
  }

  /** Copies the elements into `target`, which must have exactly as many bytes. */
  copyInto<Target extends TypedArray>(target: Target): Target {
    callNative('copyOut', this.handle, target);
    return target;
  }

  /** Overwrites the elements with those of `source`, which must have exactly as many bytes. */
  copyFrom(source: TypedArray): void {
    callNative('copyIn', this.handle, source);
  }

  private elements(expected: DType): number {
    if (this.dtype !== expected) {
      throw new BoundaryError(
        'engine',
        `expected a ${expected} tensor to read, got ${this.dtype}[${this.shape.join(',')}]: cast it first`,
      );
    }
    return elementsOf(this.shape);
  }
}

function unknownDType(handle: number): never {
  throw new BoundaryError(
    'engine',
    `a tensor has the unknown dtype ${callNative('dtype', handle)}`,
  );
}

/** Product of the sizes. */
export function elementsOf(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1);
}

export function bytesPerElement(dtype: DType): number {
  if (dtype === 'int64' || dtype === 'float64') return 8;
  if (dtype === 'int32' || dtype === 'float32') return 4;
  if (dtype === 'int16' || dtype === 'float16' || dtype === 'bfloat16') return 2;
  return 1;
}

/** Where and as what a tensor is made; the default is float32 on the CPU. */
export type Placement = { readonly dtype?: DType; readonly device?: Device };

/** float32 tensor with a copy of `values`, row-major. Caller frees, as with every function that returns a tensor. */
export function tensorOf(
  values: Float32Array | readonly number[],
  shape: Shape,
  device: Device = 'cpu',
): Tensor {
  const elements = values instanceof Float32Array ? values : Float32Array.from(values);
  return tensorOfBytes(elements, shape, { dtype: 'float32', device });
}

/** int64 tensor (what libtorch indexes with) of integers, row-major. */
export function indexTensor(
  values: Int32Array | readonly number[],
  shape: Shape,
  device: Device = 'cpu',
): Tensor {
  // As pairs of 32-bit words: a BigInt for each would be garbage on every step of generation.
  const words = new Int32Array(2 * values.length);
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    words[2 * index] = value;
    words[2 * index + 1] = Math.floor(value / 2 ** 32);
  }
  return tensorOfBytes(words, shape, { dtype: 'int64', device });
}

/** A tensor of any dtype from the memory of a typed array, copied; bfloat16 and float16 as raw bits. */
export function tensorOfBytes(bytes: TypedArray, shape: Shape, placement: Placement): Tensor {
  const { dtype = 'float32', device = 'cpu' } = placement;
  return new Tensor(callNative('fromBytes', bytes, shape, dtypeCode(dtype), device));
}

/** Memory of the tensors' elements, each counted once however often it is listed. */
export function bytesOf(tensors: Iterable<Tensor>): number {
  let bytes = 0;
  for (const tensor of new Set(tensors)) {
    bytes += elementsOf(tensor.shape) * bytesPerElement(tensor.dtype);
  }
  return bytes;
}

/** Tensors that are alive now; equal before and after a piece of work when it leaks none. */
export function liveTensors(): number {
  return callNative('liveTensors');
}

/** Bytes of memory behind the live tensors. */
export function liveBytes(): number {
  return callNative('liveBytes');
}
