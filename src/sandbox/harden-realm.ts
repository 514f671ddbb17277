import { createRequire, registerHooks } from 'node:module';

const require = createRequire(import.meta.url);

/** Every call to the interpreter's source of randomness gives the same bytes after `restart`: runs repeat. */
export function fixRandomBytes(): { readonly restart: () => void } {
  let state = 1;
  // The interpreter calls this property of the module object; a worker thread has its own.
  const crypto: { randomFillSync: (view: Uint8Array) => Uint8Array } = require('node:crypto');
  crypto.randomFillSync = (view) => {
    for (let index = 0; index < view.length; index++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      view[index] = state >>> 24;
    }
    return view;
  };
  return {
    restart: () => {
      state = 1;
    },
  };
}

/** What is used of WebAssembly, which the compiler's library for Node leaves out. */
type GrowableMemory = { readonly buffer: ArrayBuffer; grow: (pages: number) => number };
type WebAssemblyGlobal = {
  readonly WebAssembly: { readonly Memory: { readonly prototype: GrowableMemory } };
};

/** The interpreter's loader asks for file system constants in a way that the permission model refuses. */
export function answerConstants(): void {
  const { constants }: { constants: object } = require('node:fs');
  Object.defineProperty(process, 'binding', { value: () => ({ fs: constants }) });
}

/** WebAssembly memory cannot grow past the limit; the interpreter turns that into MemoryError. */
export function limitMemory(limit: number): {
  readonly isFull: () => boolean;
  readonly reset: () => void;
} {
  const pageBytes = 65536;
  const { prototype } = (globalThis as unknown as WebAssemblyGlobal).WebAssembly.Memory;
  const grow = prototype.grow;
  let isFull = false;
  prototype.grow = function (this: GrowableMemory, pages: number): number {
    if (this.buffer.byteLength + pages * pageBytes > limit) {
      isFull = true;
      throw new RangeError('memory limit of the sandbox');
    }
    return grow.call(this, pages);
  };
  return {
    isFull: () => isFull,
    reset: () => {
      isFull = false;
    },
  };
}

function refuse(): never {
  throw new Error('not available in the sandbox');
}

/**
 * The second wall, behind the closed bridge between Python and JavaScript: were agents' code to get hold of a
 * JavaScript object all the same, it finds no way to compile code, load modules or reach the process or the network.
 * Must run after the interpreter has been loaded.
 */
export function hardenRealm(): void {
  const functionKinds = [
    () => undefined,
    async () => undefined,
    function* generate() {
      yield undefined;
    },
    async function* generateLater() {
      yield undefined;
    },
  ];
  for (const kind of functionKinds)
    Object.defineProperty(Object.getPrototypeOf(kind), 'constructor', { value: refuse });
  registerHooks({ resolve: refuse });
  const dangerous = [
    'process',
    'fetch',
    'WebSocket',
    'EventSource',
    'XMLHttpRequest',
    'Function',
    'eval',
    'Worker',
  ];
  for (const name of dangerous)
    Object.defineProperty(globalThis, name, { value: undefined, configurable: false });
}
