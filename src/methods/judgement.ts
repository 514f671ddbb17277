import PQueue from 'p-queue';
import { createScorer, scoreTrajectory } from '../coach/score-actions.ts';
import type { ShownVerdict, Stage } from '../rollout/play-task.ts';
import type { Feedback, Outcome } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { Trajectory } from '../types/trajectory.ts';
import type { Training } from './training.ts';

/** The coach's part in one scope of plays. */
export type Judgement = Pick<Stage, 'verdictOn'> &
  Partial<Pick<Stage, 'onJudgeable'>> & {
    /** By action id, as it grows. */
    readonly feedback: ReadonlyMap<string, Feedback>;
    /** Has every action of an ended play judged that is not yet, where all are. */
    readonly scoreEnded: (
      task: Task,
      trajectory: Trajectory,
      outcome: Outcome | undefined,
    ) => Promise<void>;
    /** Resolves when no call is under way any more. */
    readonly settled: () => Promise<void>;
  };

/**
 * Has actions judged as soon as nothing before them can change, while agents go on playing. Where the coach is to see
 * how a play ended, its verdicts wait for that.
 *
 * @param options.stop aborted with the coach's failure when it must stop the run
 * @param options.of every action, or only those that plays ask about
 */
export function openJudgement(
  training: Training,
  scope: string,
  { stop, of }: { readonly stop: AbortController; readonly of: 'all' | 'asked' },
): Judgement {
  const { run, settings, coach } = training;
  const feedback = of === 'all' ? knownFeedback(training, scope) : run.feedbackOf(scope);
  const record = (verdict: Feedback) => {
    feedback.set(verdict.actionId, verdict);
    run.recordFeedback(verdict);
  };
  const scorer = createScorer(coach, {
    ...{ known: feedback, record, signal: stop.signal },
    queue: training.judging ?? new PQueue({ concurrency: settings.coachConcurrency }),
  });
  const shown = run.coachRecords.shownOf(scope);
  return {
    feedback,
    ...(settings.showOutcome || of === 'asked'
      ? {}
      : {
          onJudgeable: (request) => {
            scorer.score(request).catch((error: unknown) => stop.abort(error));
          },
        }),
    verdictOn: async (request) => {
      const { id } = request.action;
      if (shown.has(id)) return shownVerdict(shown.get(id), feedback.get(id));
      const verdict = await scorer.score(request, { isAwaited: true }).catch((error: unknown) => {
        // The play's own code could catch this, and the run must stop all the same.
        stop.abort(error);
        throw error;
      });
      const words = wordsOf(verdict);
      run.coachRecords.recordShown(id, words);
      return shownVerdict(words, verdict);
    },
    scoreEnded: async (task, trajectory, outcome) => {
      if (of === 'asked') return;
      const ended = { shows: settings.showOutcome, ...(outcome && { outcome }) };
      await scoreTrajectory(scorer, task, trajectory, ended);
    },
    settled: scorer.settled,
  };
}

/**
 * Verdicts from before an interruption, taken as they were: what was unscored then stays so, and nothing is asked twice.
 * Only where so many were unscored that the run stopped for it is the coach, mended by then, asked for those again.
 */
function knownFeedback({ run, settings }: Training, scope: string): Map<string, Feedback> {
  const given = run.feedbackOf(scope);
  const scored = [...given].filter(([, { kind }]) => kind === 'scored');
  const ended = run.trajectoriesOf(scope);
  const isOver =
    ended.length >= settings.tasksPerStep * settings.samplesPerTask &&
    ended.every(({ failure, actions }) => failure || actions.every(({ id }) => given.has(id)));
  const share = 1 - scored.length / Math.max(1, given.size);
  return isOver && share > settings.unscoredShareLimit ? new Map(scored) : new Map(given);
}

/**
 * Plays that nobody judges any more; verdicts from before an interruption stay known. Says so once where a team asks for the coach's verdicts. What a play was shown while there was a
 * coach, before an interruption, it is shown again.
 */
export function withoutJudgement({ run, watch }: Training, scope: string): Judgement {
  let isSaid = false;
  const [shown, feedback] = [run.coachRecords.shownOf(scope), run.feedbackOf(scope)];
  const nothing = async () => undefined;
  return {
    ...{ feedback, scoreEnded: nothing, settled: nothing },
    verdictOn: async ({ action: { id } }) => {
      if (shown.has(id)) return shownVerdict(shown.get(id), feedback.get(id));
      const where = /^\d+$/.test(scope) ? `step ${scope}` : scope.replace(/^eval:/, 'evaluation ');
      if (!isSaid) {
        watch.note(
          `${where}: the team asks for the coach’s verdicts (showFeedback, showScore), and no coach is asked here: its agents play without them`,
        );
      }
      isSaid = true;
      return undefined;
    },
  };
}

/** What a play was shown once is what it is shown; a verdict is never changed for another. */
function shownVerdict(
  words: string | undefined,
  verdict: Feedback | undefined,
): ShownVerdict | undefined {
  if (words === undefined || verdict?.kind !== 'scored') return undefined;
  return { words, score: verdict.score };
}

function wordsOf(verdict: Feedback): string | undefined {
  if (verdict.kind === 'unscored') return undefined;
  return `${verdict.score} of 10 points. ${verdict.reason}`.trim();
}
