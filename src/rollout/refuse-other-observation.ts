import { BoundaryError } from '../errors.ts';
import type { Action } from '../types/trajectory.ts';

/** @throws BoundaryError("run") where a play that is resumed comes to a recorded action in another way than it did */
export function refuseOtherObservation(finished: Action, observation: Int32Array): void {
  const same =
    finished.observation.length === observation.length &&
    finished.observation.every((id, position) => id === observation[position]);
  if (same) return;
  throw new BoundaryError(
    'run',
    `action ${finished.id} was recorded with another observation than the play now produces; the team's code, prompts or tokenizer changed since the run was interrupted: start a new run`,
  );
}
