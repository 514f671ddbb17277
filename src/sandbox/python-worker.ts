/**
 * The worker thread of the Python sandbox: one CPython (Pyodide, WebAssembly) that is put back to the same state after
 * every run by copying its whole memory back, so that no run can see another.
 *
 * What keeps agents' code inside, from the inside out:
 * - Python's bridge to JavaScript is removed before any agent's code runs, and an audit hook refuses processes, sockets,
 *   ctypes, hand-made bytecode and walks over the garbage collector's objects (python-guard.ts). What classes of the
 *   bridge remain (JsException can make a JavaScript error) meets functions that only throw (seal-bridge.ts).
 * - The file system is in memory, read-only but for scratch directories of bounded size (seal-file-system.ts).
 * - WebAssembly memory is bounded; output is bounded; time is bounded from outside (python-sandbox.ts).
 * - The thread's JavaScript realm has no way to compile code, load modules, or reach the process or the network
 *   (harden-realm.ts).
 * - The thread runs under Node's permission model: no file outside this folder and the interpreter's, no child
 *   process, no thread, no addon; and with an empty environment.
 *
 * Not covered: built-in modules that the hook refuses can still be loaded through `_imp`, and `_ctypes` then reads and
 * writes the interpreter's own memory, which is all there is inside and is put back after the run. A flaw in V8 or in
 * CPython that reaches native memory (the thread shares the host's process), the CPU that a run may burn until its time
 * limit, and timing side channels. Code from people who mean harm belongs into a virtual machine of its own.
 */
import { inspect } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import { loadPyodide } from 'pyodide';
import { putFiles, takeFiles } from './exchange-files.ts';
import { answerConstants, fixRandomBytes, hardenRealm, limitMemory } from './harden-realm.ts';
import { pythonGuard } from './python-guard.ts';
import { interceptBridge } from './seal-bridge.ts';
import { type FileSystem, scratchDirectories, sealFileSystem } from './seal-file-system.ts';
import type {
  RunRequest,
  WorkerCondition,
  WorkerMessage,
  WorkerSettings,
} from './worker-protocol.ts';

/** The interpreter's module object: its typings leave out what is needed here. */
type InterpreterModule = { readonly HEAPU8: Uint8Array };

const settings: WorkerSettings = workerData;
/** A run is given as much as it may leave, both count twice (seal-file-system.ts). */
const bytesWritten = 4;
const port = parentPort;
if (port === null) throw new Error('python-worker must run as a worker thread');
const send = (message: WorkerMessage) => port.postMessage(message);

const interrupt = new Uint8Array(settings.interrupt);
const randomBytes = fixRandomBytes();
answerConstants();
const memory = limitMemory(settings.memoryLimit);

const bridge = interceptBridge();

const python = await loadPyodide({
  env: { HOME: scratchDirectories[0], PYTHONHASHSEED: '0' },
  jsglobals: Object.create(null),
  stdin: () => null,
});
// Python's own streams are replaced by the guard; what is written past them, to file descriptors, goes nowhere.
const discard = { write: (bytes: Uint8Array) => bytes.length };
python.setStdout(discard);
python.setStderr(discard);
python.setInterruptBuffer(interrupt);

const prepare = python.runPython(pythonGuard, {
  globals: python.toPy({}),
  filename: '<sandbox>',
});
const run: (source: string) => unknown = prepare(settings.outputLimit);
run('print(1)');

const interpreter = (python as unknown as { readonly _module: InterpreterModule })._module;
const fileSystem = python.FS as unknown as FileSystem;
const cleanFiles = sealFileSystem(fileSystem, bytesWritten * settings.workspaceBytes);
bridge.close();
hardenRealm();
randomBytes.restart();
const pristine = interpreter.HEAPU8.slice();

/** Puts the interpreter back to its state before any run: memory, files, randomness. */
function restore(): void {
  const heap = interpreter.HEAPU8;
  heap.set(pristine);
  heap.fill(0, pristine.length);
  cleanFiles();
  randomBytes.restart();
  memory.reset();
}

function condition(): WorkerCondition {
  const isMemoryFull = memory.isFull();
  return { isMemoryFull, isWorn: isMemoryFull || interpreter.HEAPU8.length > 3 * pristine.length };
}

function serve({ source, files }: RunRequest): void {
  const [folder] = scratchDirectories;
  let isInProgram = false;
  try {
    putFiles(fileSystem, folder, files);
    isInProgram = true;
    const text = String(run(source));
    isInProgram = false;
    const left = takeFiles(fileSystem, folder, {
      before: files,
      most: settings.workspaceFiles,
      mostBytes: settings.workspaceBytes,
    });
    send({ kind: 'result', text, left, ...condition() });
    // After the answer, which need not wait for it; the next run does (start-worker.ts).
    restore();
    send({ kind: 'ready' });
  } catch (error) {
    send({ kind: 'crashed', reason: reasonOf(error), isInProgram, ...condition() });
  }
}

/** The interpreter throws objects of its own, such as one for an exit, which have no text. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : `the interpreter threw ${inspect(error)}`;
}

port.on('message', serve);
send({ kind: 'ready' });
