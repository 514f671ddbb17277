// The only file that loads the native addon: everything that crosses into C++ passes here.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { BoundaryError, messageOf } from '../errors.ts';
import { explainOutOfMemory } from './out-of-memory.ts';

/** What an operator takes, after tensors have become handles. */
export type NativeArgument =
  | number
  | bigint
  | boolean
  | string
  | null
  | undefined
  | readonly (number | boolean)[];

/** Typed arrays that tensors are read from and written to. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint16Array
  | Uint8Array
  | Int8Array;

/** The addon's exports (native/addon.cc). A handle is a positive integer; 0 stands for "no tensor". */
type Addon = {
  readonly call: (operator: number, ...args: readonly NativeArgument[]) => unknown;
  readonly findOperator: (name: string, overload: string) => number;
  readonly hasOperator: (name: string, overload: string) => boolean;
  readonly describeOperator: (
    operator: number,
  ) => [kinds: string[], names: string[], results: string[], inPlace: boolean];
  readonly release: (handle: number) => void;
  readonly fromBytes: (
    bytes: TypedArray,
    shape: readonly number[],
    dtype: number,
    device: string,
  ) => number;
  readonly copyOut: (handle: number, into: TypedArray) => void;
  readonly copyIn: (handle: number, from: TypedArray) => void;
  readonly item: (handle: number) => number;
  readonly shape: (handle: number) => number[];
  readonly dtype: (handle: number) => number;
  readonly device: (handle: number) => string;
  readonly writes: (handle: number) => number;
  readonly requiresGrad: (handle: number) => boolean;
  readonly setRequiresGrad: (handle: number, required: boolean) => void;
  readonly backward: (handle: number, seed: number) => void;
  readonly grad: (handle: number) => number;
  readonly setGrad: (handle: number, grad: number) => void;
  readonly setGradMode: (enabled: boolean) => boolean;
  readonly setThreads: (threads: number) => void;
  readonly threads: () => number;
  readonly liveTensors: () => number;
  readonly liveBytes: () => number;
  readonly version: () => string;
  readonly buildDescription: () => string;
  readonly cudaDevices: () => number;
  /** native/cached-pass.h: the parts of a forward pass whose rows do not depend on one another. */
  readonly rowLinear: (
    ...args: [
      ...base: [input: number, weight: number, bias: number, residual: number],
      runs: readonly number[],
    ]
  ) => number;
  readonly rowNorm: (input: number, gain: number, eps: number) => number;
  readonly rowGate: (gateUp: number) => number;
  readonly rowAttend: (
    ...args: [
      ...heads: [qkv: number, keys: number, values: number, positions: number, places: number],
      ...rotation: [gains: number, eps: number, cosines: number, sines: number],
    ]
  ) => number;
  /** native/traced-pass.h: parts of a pass that autograd records. */
  readonly tracedNorm: (input: number, gain: number, eps: number) => number;
  readonly tracedGate: (gateUp: number) => number;
  readonly tracedHeads: (
    ...args: [
      ...rows: [qkv: number, gains: number, cosines: number, sines: number],
      ...facts: [eps: number, heads: number, keyValueHeads: number],
    ]
  ) => [query: number, key: number, value: number];
  readonly tracedChoice: (logits: number, targets: number) => [logprobs: number, entropies: number];
  readonly loraLinear: (
    ...args: [
      ...base: [input: number, weight: number, added: number],
      ...lora: [a: number, b: number, factors: number, places: number, scale: number],
    ]
  ) => number;
  /** native/device-graph.h: work that a device records and does again. */
  readonly canRecord: (device: string) => boolean;
  readonly stepAside: (device: string) => void;
  readonly stepBack: () => void;
  readonly beginRecording: (device: string) => void;
  readonly endRecording: () => number;
  readonly abandonRecording: () => void;
  readonly replayRecording: (recording: number) => void;
  readonly dropRecording: (recording: number) => void;
};

let loaded: Addon | undefined;

/**
 * Calls one of the addon's exports.
 *
 * @throws BoundaryError("engine") when the addon is missing or cannot be loaded, and with libtorch's message when
 *   libtorch refuses: operator, then name, shape and dtype of each tensor argument, then the reason. A failed
 *   allocation says which setting asks for less
 */
export function callNative<Name extends keyof Addon>(
  name: Name,
  ...args: Parameters<Addon[Name]>
): ReturnType<Addon[Name]> {
  const addon = loaded ?? loadAddon();
  const run = addon[name] as (...values: Parameters<Addon[Name]>) => ReturnType<Addon[Name]>;
  try {
    return run(...args);
  } catch (error) {
    const message = messageOf(error);
    throw new BoundaryError('engine', explainOutOfMemory(message) ?? message, { cause: error });
  }
}

/** Where the addon is looked for: `TEAMTUNE_ADDON`, else `native/build/teamtune.node` of this package. */
export function addonPath(): string {
  const built = fileURLToPath(new URL('../../native/build/teamtune.node', import.meta.url));
  return process.env.TEAMTUNE_ADDON ?? built;
}

/** Environment variables that libraries under libtorch read once, when they are loaded; a user's own values stay. */
const librarySettings = {
  // A row of a matrix product has the same bits however many rows stand beside it.
  MKL_CBWR: 'AUTO,STRICT',
  // OpenBLAS's own threads fight with libtorch's over the cores (several times slower).
  OPENBLAS_NUM_THREADS: '1',
  // Threads that spin while they wait starve one another when anything else runs: a decode step was measured 15 to 40
  // times slower with six other busy processes on two cores.
  OMP_WAIT_POLICY: 'PASSIVE',
} as const;

function loadAddon(): Addon {
  const path = addonPath();
  if (!existsSync(path)) {
    throw new BoundaryError(
      'engine',
      `the native addon is not built (expected ${path}): run \`npm run setup\``,
    );
  }
  for (const [name, value] of Object.entries(librarySettings)) process.env[name] ??= value;
  try {
    loaded = createRequire(import.meta.url)(path) as Addon;
    return loaded;
  } catch (error) {
    throw new BoundaryError(
      'engine',
      `the native addon ${path} does not load (${messageOf(error)}): run \`npm run setup\` to build it again`,
      { cause: error },
    );
  }
}

/** What libtorch says of itself. */
export type EngineDescription = {
  readonly version: string;
  readonly threads: number;
  readonly cudaDevices: number;
  /** Whether work on a CUDA device can be recorded. */
  readonly hasCudaGraphs: boolean;
  /** libtorch's own multi-line description of its build and of its threads. */
  readonly build: string;
};

/** @throws BoundaryError("engine") when the addon is missing or cannot be loaded */
export function describeEngine(): EngineDescription {
  return {
    version: callNative('version'),
    threads: callNative('threads'),
    cudaDevices: callNative('cudaDevices'),
    hasCudaGraphs: callNative('canRecord', 'cuda'),
    build: callNative('buildDescription'),
  };
}

/**
 * Makes a device ready for tensors: libtorch's CUDA half is loaded when it is first asked for.
 *
 * @throws BoundaryError("engine") when libtorch cannot use the device here
 */
export function openDevice(device: string): void {
  const [kind, index = '0'] = device.split(':');
  if (kind !== 'cuda') return;
  const devices = callNative('cudaDevices');
  if (Number(index) < devices) return;
  throw new BoundaryError(
    'engine',
    `the device ${device} is not there: libtorch ${callNative('version')} can use ${devices} CUDA devices of this machine; take the device cpu, or ask \`teamtune doctor\` what is missing`,
  );
}

/** How many threads one operator may use. */
export function setThreads(threads: number): void {
  callNative('setThreads', threads);
}
