import { BoundaryError } from '../errors.ts';

/** What one program may use. */
export type SandboxLimits = {
  /** Of one run; the CPU time of each of its processes is bounded by the same. */
  readonly timeLimitMs: number;
  /** Of all its processes together. */
  readonly memoryBytes: number;
  /** Characters of output after which it is stopped. */
  readonly outputLimit: number;
  /** Processes and threads alive at once. */
  readonly processes: number;
  /** Of all files in its working folder together. */
  readonly workspaceBytes: number;
  readonly workspaceFiles: number;
};

export const defaultLimits: SandboxLimits = {
  timeLimitMs: 30_000,
  memoryBytes: 1024 * 2 ** 20,
  outputLimit: 65_536,
  processes: 64,
  workspaceBytes: 256 * 2 ** 20,
  workspaceFiles: 1000,
};

/** @throws BoundaryError("config") when a limit is not a positive integer */
export function checkLimits<Limits extends object>(limits: Limits): Limits {
  for (const [name, value] of Object.entries(limits))
    if (typeof value === 'number' && !(Number.isInteger(value) && value > 0))
      throw new BoundaryError(
        'config',
        `sandbox ${name} must be a positive integer, got ${value}.`,
      );
  return limits;
}
