import { BoundaryError } from '../errors.ts';
import type { Metrics } from '../types/metrics.ts';
import type { Trajectory } from '../types/trajectory.ts';
import { speechesOf } from './discussion-answers.ts';
import type { Judged, Settings, Training } from './training.ts';

/** What a step's coaching came to: its costs, and `unscored-share` of the actions, of all and, with `/<agent>`, of one. */
export function coachMetrics(training: Training, scope: string, judged: Judged): Metrics {
  const metrics: Record<string, number> = { ...coachCosts(training, scope) };
  const { unscored, all } = countUnscored(judged);
  if (all === 0) return metrics;
  metrics['unscored-share'] = unscored.length / all;
  for (const agent of training.policies.keys()) {
    const own = countUnscored(judged, agent);
    if (own.all > 0) metrics[`unscored-share/${agent}`] = own.unscored.length / own.all;
  }
  return metrics;
}

/**
 * `coach-calls`, `coach-cached`, `coach-input-tokens`, `coach-output-tokens`, `coach-usd` (known costs; absent without a
 * price), each of the whole scope and, with `/<agent>`, on that agent's actions.
 */
export function coachCosts({ run }: Training, scope: string): Metrics {
  const metrics: Record<string, number> = {};
  const add = (name: string, value: number) => {
    metrics[name] = (metrics[name] ?? 0) + value;
  };
  for (const of of run.coachRecords.byAgent(scope)) {
    for (const place of ['', `/${of.agent}`]) {
      add(`coach-calls${place}`, of.calls);
      add(`coach-cached${place}`, of.cached);
      add(`coach-input-tokens${place}`, of.inputTokens);
      add(`coach-output-tokens${place}`, of.outputTokens);
      if (of.usd !== undefined) add(`coach-usd${place}`, of.usd);
    }
  }
  return metrics;
}

/**
 * Plays in which no agent's last answer has a score, though scores weigh the team's vote: it falls back on the majority there.
 * Undefined where they do not.
 */
export function countUnscoredPlays({ team }: Training, judged: Judged): number | undefined {
  if (team.weighsVotes !== true) return undefined;
  const ended = judged.trajectories.filter(({ failure }) => !failure);
  const isScored = (trajectory: Trajectory) => {
    const last = new Map(speechesOf(trajectory).map((speech) => [speech.agent, speech.last.id]));
    return [...last.values()].some((id) => judged.feedback.get(id)?.kind === 'scored');
  };
  return ended.filter((trajectory) => !isScored(trajectory)).length;
}

/** Actions of plays that did not fail, of one agent or all, which have no score; with the cause where one is known. */
function countUnscored(
  { trajectories, feedback }: Judged,
  agent?: string,
): { readonly unscored: readonly (string | undefined)[]; readonly all: number } {
  const verdicts = trajectories
    .filter(({ failure }) => !failure)
    .flatMap(({ actions }) => actions)
    .filter((action) => agent === undefined || action.agent === agent)
    .map(({ id }) => feedback.get(id));
  const unscored = verdicts
    .filter((verdict) => verdict?.kind !== 'scored')
    .map((verdict) => (verdict?.kind === 'unscored' ? verdict.cause : undefined));
  return { unscored, all: verdicts.length };
}

/** Whether the coach's budget is used up and the run is to go on without it. */
export function isSpent({ coach }: Training): boolean {
  return coach.isSpent?.() ?? false;
}

/** Whether the coach is asked about a step's actions: until its budget is used up, and to the end of the step in which it was. */
export function isAskedIn(training: Training, step: number): boolean {
  return !isSpent(training) || training.run.feedbackOf(step).size > 0;
}

/** @throws BoundaryError("coach") when more than the permitted share of a step's actions has no score */
export function refuseTooFewScores(judged: Judged, settings: Settings): void {
  const { unscored, all } = countUnscored(judged);
  if (unscored.length / Math.max(1, all) <= settings.unscoredShareLimit) return;
  throw new BoundaryError(
    'coach',
    `the coach left ${unscored.length} of ${all} actions without a score (coaching.unscoredShareLimit is ${settings.unscoredShareLimit}); for example: ${unscored.find((cause) => cause !== undefined) ?? 'no verdict'}`,
  );
}

type Spent = { readonly [Name in 'calls' | 'cached' | 'usd' | 'usdUnknown']?: number | undefined };

/** For people: `40 calls, 3 from the cache, $0.0123`. */
export function describeUsage({ calls = 0, cached = 0, usd, usdUnknown = 0 }: Spent): string {
  const money = usd === undefined ? '' : `, $${usd.toFixed(4)}`;
  const bound = usdUnknown.toFixed(4);
  const more = usd === undefined ? `, at most $${bound}` : ` and at most $${bound} more`;
  const unknown = usdUnknown > 0 ? more : '';
  return `${calls} calls${cached > 0 ? `, ${cached} from the cache` : ''}${money}${unknown}`;
}
