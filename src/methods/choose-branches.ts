import { BoundaryError } from '../errors.ts';
import { createRandom, seedFor, shuffled } from '../random.ts';
import type { Run } from '../run/run-store.ts';
import type { Feedback } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';

/** A scored action of a finished run, with what stands before and at it in its play. */
export type BranchPoint = {
  readonly task: Task;
  readonly action: Action;
  readonly verdict: Extract<Feedback, { kind: 'scored' }>;
  readonly before: PlayState;
  readonly after: PlayState;
};

/** How far a recorded play is replayed. */
export type PlayState = {
  readonly play: Trajectory;
  readonly task: Task;
  /** Replayed actions, in order; none = the play begins anew. */
  readonly fixed: readonly Action[];
  /** Whether the play had ended by then. */
  readonly isEnd: boolean;
};

export type BranchChoice = {
  readonly step: number;
  /** How many actions to branch from at most. */
  readonly sample: number;
  /** Label of second verdicts to check; absent = the run's own. */
  readonly label?: string;
};

/** The actions that may be branched from, and how many could not be. */
export type ChosenBranches = {
  /** In the order in which they are drawn. */
  readonly candidates: readonly BranchPoint[];
  /** How many are to be branched from. */
  readonly sample: number;
  /** Scored actions of plays that ended. */
  readonly scored: number;
  /** Of them those whose task has no answer to grade against. */
  readonly ungraded: number;
};

/**
 * Puts the scored actions of a step into an order to draw them in, the same one every time.
 *
 * @throws BoundaryError when the step has none, or none that can be graded
 */
export function chooseBranches(run: Run, { step, sample, label }: BranchChoice): ChosenBranches {
  const verdicts = label === undefined ? run.feedbackOf(step) : run.rescores.secondOf(label, step);
  const scored = pointsOf(run, run.trajectoriesOf(step), verdicts);
  const whose = label === undefined ? '' : ` of "${label}"`;
  if (scored.length === 0) {
    throw new BoundaryError(
      'run',
      `step ${step} of ${run.directory} has no scored action${whose}: there is no score to check; choose another --step, or have its actions scored by \`rescore\` and name the label with --as`,
    );
  }
  const graded = scored.filter(({ task }) => task.answer !== undefined || task.table);
  if (graded.length === 0) {
    throw new BoundaryError(
      'task',
      `no task of step ${step} of ${run.directory} has an answer: what branches from an action cannot be graded`,
    );
  }
  const candidates = shuffled(graded, createRandom(seedFor('branch', step)));
  const ungraded = scored.length - graded.length;
  return { candidates, sample, scored: scored.length, ungraded };
}

function pointsOf(
  run: Run,
  trajectories: readonly Trajectory[],
  verdicts: ReadonlyMap<string, Feedback>,
): BranchPoint[] {
  const seen = new Set<string>();
  return trajectories.flatMap((play) => {
    const { taskId, actions, failure } = play;
    const task = run.rescores.task(taskId);
    if (failure || task === undefined) return [];
    return actions.flatMap((action, at) => {
      const verdict = verdicts.get(action.id);
      if (verdict?.kind !== 'scored' || seen.has(action.id)) return [];
      seen.add(action.id);
      const stateAfter = (count: number) => {
        return { play, task, fixed: actions.slice(0, count), isEnd: count === actions.length };
      };
      return { task, action, verdict, before: stateAfter(at), after: stateAfter(at + 1) };
    });
  });
}
