import { BoundaryError, messageWithPlace } from '../errors.ts';
import type { Trajectory } from '../types/trajectory.ts';

/**
 * Whether what broke a play is no fault of the play: the store failed, or the policies are gone with their server. It is
 * not recorded, and the play is played again when the run is resumed.
 */
export function isOfTheRun(error: unknown): boolean {
  if (!(error instanceof BoundaryError)) return false;
  return error.boundary === 'run' || (error.boundary === 'engine' && error.retryable);
}

/** @param deadline of the play, aborted once it has passed */
export function failureOf(
  error: unknown,
  deadline: AbortSignal,
  playTimeoutMs: number,
): NonNullable<Trajectory['failure']> {
  if (deadline.aborted) {
    const seconds = playTimeoutMs / 1000;
    return {
      boundary: 'play',
      message: `took longer than ${seconds} s (rollout.playTimeoutSeconds)`,
    };
  }
  if (error instanceof BoundaryError) return { boundary: error.boundary, message: error.message };
  return { boundary: 'play', message: messageWithPlace(error) };
}
