import { type Patience, usualPatience } from '../../../src/service/tinker/patience.ts';

/** Waits of milliseconds, so that what is tried again is tried soon and what fails for good fails in a test's time. */
export const hasty: Patience = {
  ...usualPatience,
  firstWaitMs: 1,
  longestWaitMs: 20,
  outageMs: 3000,
  resultMs: 20_000,
  placeMs: 3000,
};
