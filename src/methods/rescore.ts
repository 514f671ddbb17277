import { allOrStop } from '../coach/all-or-stop.ts';
import { hindsightOf } from '../coach/score-actions.ts';
import { BoundaryError } from '../errors.ts';
import { createRandom, seedFor, shuffled } from '../random.ts';
import { type Agreement, agreementOf, type ScorePair } from '../run/agreement.ts';
import type { Run } from '../run/run-store.ts';
import type { Coach, Feedback, Hindsight } from '../types/feedback.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';

export type RescoreOptions = {
  readonly coach: Coach;
  /** Under which the verdicts are kept; another label keeps another set of them. */
  readonly label: string;
  /** Score so many actions only, drawn over the whole run; absent = all. */
  readonly sample?: number;
  /** What the coach sees of how each play went on and ended; absent = nothing. */
  readonly showOutcome?: Hindsight;
  /** Called after every verdict. */
  readonly onScored: (done: number, of: number) => void;
};

/** What a second coach said of a run's actions. */
export type Rescored = {
  /** Actions that the first coach had scored, or a tree valued, and the second was to score. */
  readonly actions: number;
  /** How many of them the second coach was asked about now; the rest it had scored before. */
  readonly asked: number;
  /** Without a second score, by cause. */
  readonly unscored: Readonly<Record<string, number>>;
  readonly agents: Readonly<Record<string, Agreement>>;
};

type Choice = { readonly trajectory: Trajectory; readonly action: Action };

/**
 * Asks another coach about the actions that a run's coach has scored, or its trees have valued. Nothing is generated: the recorded actions are
 * shown again. First verdicts stay as they are; verdicts given before an interruption are not asked for again.
 *
 * @throws BoundaryError when the run has no scored action or lacks its tasks, or the coach fails for good
 */
export async function rescoreRun(run: Run, options: RescoreOptions): Promise<Rescored> {
  const steps = run.completedSteps().map(({ step }) => step);
  const chosen = chooseActions(run, steps, options.sample);
  if (chosen.size === 0) {
    throw new BoundaryError(
      'run',
      `${run.directory} has no completed step with a scored action: there is nothing to compare a second coach with`,
    );
  }
  const pairs = new Map<string, ScorePair[]>();
  const unscored: Record<string, number> = {};
  const progress = { done: 0, asked: 0 };
  for (const step of steps) {
    const choices = choicesOf(run, step, chosen);
    const first = firstScores(run, step);
    const verdicts = await scoreStep(run, step, { choices, options, progress, of: chosen.size });
    for (const [index, { trajectory, action }] of choices.entries()) {
      const [before, after] = [first.get(action.id), verdicts[index]];
      if (after?.kind === 'unscored') unscored[after.cause] = (unscored[after.cause] ?? 0) + 1;
      if (before === undefined || after?.kind !== 'scored') continue;
      const pair = { group: trajectory.taskId, first: before, second: after.score };
      pairs.set(action.agent, [...(pairs.get(action.agent) ?? []), pair]);
    }
  }
  const order = teamOrder(run);
  const agents = [...pairs]
    .toSorted(([one], [other]) => order.indexOf(one) - order.indexOf(other))
    .map(([agent, own]) => [agent, agreementOf(own)] as const);
  return {
    actions: chosen.size,
    asked: progress.asked,
    unscored,
    agents: Object.fromEntries(agents),
  };
}

/** The agents as the run's team declares them. */
function teamOrder(run: Run): readonly string[] {
  const config = run.resolvedConfig as
    | { readonly team?: { readonly order?: readonly string[] } }
    | undefined;
  return config?.team?.order ?? [];
}

/** Ids of the scored actions, or of as many of them as are wanted: the same ones every time. */
function chooseActions(
  run: Run,
  steps: readonly number[],
  sample: number | undefined,
): ReadonlySet<string> {
  const ids = steps.flatMap((step) => [...firstScores(run, step).keys()]);
  if (sample === undefined || sample >= ids.length) return new Set(ids);
  return new Set(shuffled(ids, createRandom(seedFor('rescore'))).slice(0, sample));
}

/**
 * By action id, 0–10: the first coach's points, or, of a tree of plays, ten times what the plays that branch from the
 * action came to, which is what a score should foretell.
 */
function firstScores(run: Run, step: number): ReadonlyMap<string, number> {
  const scores = [...run.feedbackOf(step).values()].flatMap((verdict) =>
    verdict.kind === 'scored' ? [[verdict.actionId, verdict.score] as const] : [],
  );
  const values = run.trees.valuesOf(step);
  return new Map([...[...values].map(([id, value]) => [id, 10 * value] as const), ...scores]);
}

/** Each action once, also where several plays share it. */
function choicesOf(run: Run, step: number, chosen: ReadonlySet<string>): Choice[] {
  const left = new Set(chosen);
  return run
    .trajectoriesOf(step)
    .flatMap((trajectory) => trajectory.actions.map((action) => ({ trajectory, action })))
    .filter(({ action }) => left.delete(action.id));
}

async function scoreStep(
  run: Run,
  step: number,
  work: {
    readonly choices: readonly Choice[];
    readonly options: RescoreOptions;
    readonly progress: { done: number; asked: number };
    readonly of: number;
  },
): Promise<readonly Feedback[]> {
  const { options, progress } = work;
  const outcomes = run.outcomesOf(step);
  const known = run.rescores.secondOf(options.label, step);
  const stop = new AbortController();
  const scoreOne = async ({ trajectory, action }: Choice): Promise<Feedback> => {
    const earlierVerdict = known.get(action.id);
    if (earlierVerdict?.kind === 'scored') {
      options.onScored(++progress.done, work.of);
      return earlierVerdict;
    }
    const earlier = trajectory.actions.filter(({ turn }) => turn < action.turn);
    const later = trajectory.actions.filter(({ turn }) => turn > action.turn);
    const outcome = outcomes.get(trajectory.id);
    const request = {
      ...{ task: taskOf(run, trajectory), action, earlier },
      ...hindsightOf(options.showOutcome ?? false, { ...(outcome && { outcome }), later }),
    };
    progress.asked += 1;
    const verdict = await options.coach.score(request, { signal: stop.signal });
    run.rescores.recordSecond(options.label, verdict);
    options.onScored(++progress.done, work.of);
    return verdict;
  };
  return allOrStop(work.choices.map(scoreOne), stop);
}

function taskOf(run: Run, { taskId }: Trajectory) {
  const task = run.rescores.task(taskId);
  if (task !== undefined) return task;
  throw new BoundaryError(
    'run',
    `${run.directory} was written by a teamtune that did not record tasks (task ${taskId} is missing), so a coach cannot be shown them; only \`rescore --credit\` of newer runs and \`report\` work on it`,
  );
}
