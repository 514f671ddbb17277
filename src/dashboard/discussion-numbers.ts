import { type DiscussionStatistics, discussionStatistics } from '../run/discussion-statistics.ts';
import type { Run } from '../run/run-store.ts';

/** What the discussions of one scope came to. */
export type Moment = { readonly name: string; readonly statistics: DiscussionStatistics };
type Series = { readonly name: string; readonly points: { step: number; value: number }[] };

export type Discussions = {
  /** The evaluations; where there is none yet, the last training step. */
  readonly moments: readonly Moment[];
  /** Over training steps, one line per turn. */
  readonly accuracy: readonly Series[];
  readonly agreement: readonly Series[];
  /** Over training steps: wrong → right, right → wrong, giving in. */
  readonly changes: readonly Series[];
};

/** Undefined where the run had no discussions. */
export function gatherDiscussions(run: Run): Discussions | undefined {
  const scopes = run.discussions.scopes();
  if (scopes.length === 0) return undefined;
  const evaluations = scopes.filter((scope) => scope.startsWith('eval:'));
  const shown = evaluations.length > 0 ? evaluations : scopes.slice(-1);
  const moments = shown.map((scope) => ({
    name: /^\d+$/.test(scope) ? `step ${scope}` : scope.replace(/^eval:/, ''),
    statistics: discussionStatistics(run.discussions.answersOf(scope)),
  }));
  const turns = Math.max(...moments.map(({ statistics }) => statistics.turns.length));
  const perTurn = (area: string) =>
    Array.from({ length: turns }, (_, turn) =>
      seriesOf(run, `${area}/turn-${turn + 1}`, `turn ${turn + 1}`),
    ).filter(({ points }) => points.length > 0);
  const changes = [
    seriesOf(run, 'wrong-to-right', 'wrong → right'),
    seriesOf(run, 'right-to-wrong', 'right → wrong'),
    seriesOf(run, 'conformity', 'gave in to most others'),
  ].filter(({ points }) => points.length > 0);
  return { moments, accuracy: perTurn('accuracy'), agreement: perTurn('agreement'), changes };
}

function seriesOf(run: Run, metric: string, name: string): Series {
  const points = run.metrics().flatMap(({ step, metrics }) => {
    const value = metrics[metric];
    return value === undefined ? [] : [{ step, value }];
  });
  return { name, points };
}
