import type PQueue from 'p-queue';
import type { Coach, CoachRequest, Feedback, Hindsight, Outcome } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { Trajectory } from '../types/trajectory.ts';

export type ScorerOptions = {
  /** By action id: verdicts that exist already and are not asked for again. */
  readonly known: ReadonlyMap<string, Feedback>;
  /** Called with every new verdict as soon as it is there, so that none is lost when another fails. */
  readonly record: (feedback: Feedback) => void;
  /** Lets so many actions be in judgement at a time, over all scorers that share it. */
  readonly queue: PQueue;
  readonly signal: AbortSignal;
};

/** Asks a coach once per action, whoever wants the verdict and however often. */
export type Scorer = {
  /**
   * The verdict on an action; the coach is asked at once, if it was not before.
   *
   * @param options.isAwaited a play stands still until it is there: its turn comes before those of all others
   * @throws BoundaryError("coach") at a failure that must stop the run
   */
  readonly score: (
    request: CoachRequest,
    options?: { readonly isAwaited?: boolean },
  ) => Promise<Feedback>;
  /** Resolves when nothing is under way any more, however it ended. */
  readonly settled: () => Promise<void>;
};

export function createScorer(coach: Coach, options: ScorerOptions): Scorer {
  const { known, record, signal, queue } = options;
  const asked = new Map<string, Promise<Feedback>>();
  const inLine = new Set<string>();
  const ask = (request: CoachRequest) => {
    const { id } = request.action;
    const judge = async () => {
      inLine.delete(id);
      signal.throwIfAborted();
      const feedback = await coach.score(request, { signal });
      record(feedback);
      return feedback;
    };
    inLine.add(id);
    return queue.add(judge, { id });
  };
  return {
    score: (request, { isAwaited = false } = {}) => {
      const { id } = request.action;
      const verdict = known.get(id);
      const judging =
        asked.get(id) ?? (verdict === undefined ? ask(request) : Promise.resolve(verdict));
      asked.set(id, judging);
      if (isAwaited && inLine.has(id)) queue.setPriority(id, 1);
      return judging;
    },
    settled: async () => void (await Promise.allSettled(asked.values())),
  };
}

/** How a play went on after an action, as far as the coach is to see it; of a play without a grade `true` shows nothing. */
export function hindsightOf(
  shows: Hindsight,
  { outcome, later }: Pick<CoachRequest, 'outcome'> & Required<Pick<CoachRequest, 'later'>>,
): Pick<CoachRequest, 'outcome' | 'later'> {
  if (shows === 'play') return { later };
  return shows && outcome !== undefined ? { outcome, later } : {};
}

/**
 * A verdict on every action of a finished trajectory, in the order of play.
 *
 * A trajectory that failed is never trained on, so nothing more is paid for it.
 *
 * @param ended what the coach is to see of how the play went on; absent = nothing
 */
export async function scoreTrajectory(
  scorer: Scorer,
  task: Task,
  trajectory: Trajectory,
  ended: { readonly shows: Hindsight; readonly outcome?: Outcome } = { shows: false },
): Promise<readonly Feedback[]> {
  const { actions, failure } = trajectory;
  if (failure !== undefined) return [];
  return Promise.all(
    actions.map((action, index) =>
      scorer.score({
        ...{ task, action, earlier: actions.slice(0, index) },
        ...hindsightOf(ended.shows, { ...ended, later: actions.slice(index + 1) }),
      }),
    ),
  );
}
