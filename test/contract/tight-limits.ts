/** Limits under which the attacks run: small, so that what holds them back is seen soon. */
export const tightLimits = {
  timeLimitMs: 2000,
  memoryBytes: 256 * 2 ** 20,
  outputLimit: 10_000,
  workspaceBytes: 8 * 2 ** 20,
  workspaceFiles: 50,
} as const;
