import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'teams/**/*.test.ts'],
    // Forked processes: the native addon keeps process-wide state, and a crash in one file must not hide the others.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
