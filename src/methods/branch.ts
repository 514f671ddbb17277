import { BoundaryError } from '../errors.ts';
import { createRandom, seedFor, shuffled } from '../random.ts';
import type { PlayRequest } from '../rollout/collect.ts';
import type { Run } from '../run/run-store.ts';
import type { Feedback } from '../types/feedback.ts';
import type { Task } from '../types/task.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { type BranchedAction, type BranchValue, branchValueOf } from './branch-agreement.ts';
import { playAndJudge } from './play-and-judge.ts';
import { createStage, publishAll, type Training } from './training.ts';

/** A scored action of a finished run, with what stands before and at it in its play. */
export type BranchPoint = {
  readonly task: Task;
  readonly action: Action;
  readonly verdict: Extract<Feedback, { kind: 'scored' }>;
  readonly before: PlayState;
  readonly after: PlayState;
};

/** How far a recorded play is replayed. */
type PlayState = {
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

/** The actions to branch from, and how many could not be. */
export type ChosenBranches = {
  readonly points: readonly BranchPoint[];
  /** Scored actions of plays that ended. */
  readonly scored: number;
  /** Of them those whose task has no answer to grade against. */
  readonly ungraded: number;
  /** Of the others those after which files of the play had changed, which are not kept. */
  readonly unreplayable: number;
};

/**
 * Draws scored actions of a step, the same ones every time.
 *
 * @throws BoundaryError when the step has none, or none that can be replayed and graded
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
  const replayable = graded.filter(({ after }) => !after.fixed.some(hasChangedFiles));
  if (replayable.length === 0) {
    throw new BoundaryError(
      'run',
      `every scored action of step ${step} of ${run.directory} comes after a tool that changed files of its play, and those are not kept after a play: they cannot be branched from`,
    );
  }
  const random = createRandom(seedFor('branch', step));
  const unreplayable = graded.length - replayable.length;
  const points = shuffled(replayable, random).slice(0, sample);
  const ungraded = scored.length - graded.length;
  return { points, scored: scored.length, ungraded, unreplayable };
}

function pointsOf(
  run: Run,
  trajectories: readonly Trajectory[],
  verdicts: ReadonlyMap<string, Feedback>,
): BranchPoint[] {
  const seen = new Set<string>();
  return trajectories.flatMap(({ taskId, actions, failure }) => {
    const task = run.rescores.task(taskId);
    if (failure || task === undefined) return [];
    return actions.flatMap((action, at) => {
      const verdict = verdicts.get(action.id);
      if (verdict?.kind !== 'scored' || seen.has(action.id)) return [];
      seen.add(action.id);
      const stateAfter = (count: number) => {
        return { task, fixed: actions.slice(0, count), isEnd: count === actions.length };
      };
      return { task, action, verdict, before: stateAfter(at), after: stateAfter(at + 1) };
    });
  });
}

function hasChangedFiles({ toolResults }: Action): boolean {
  return toolResults.some(({ files }) => files !== undefined);
}

export type BranchOptions = {
  readonly step: number;
  /** Plays from one state. */
  readonly leaves: number;
};

/**
 * Plays on from the state before and the state after each action with the training's policies, as the run did: at its
 * temperature, with its filters. Replayed actions are taken as they were sampled, token by token. What the run store
 * holds of these plays is not played again.
 *
 * @param source the finished run, which is only read
 * @throws BoundaryError when more than the permitted share of plays failed, or the team now asks its agents something else
 */
export async function playBranches(
  training: Training,
  source: Run,
  points: readonly BranchPoint[],
  options: BranchOptions,
): Promise<readonly BranchedAction[]> {
  const { settings } = training;
  const scope = `branch:${options.step}`;
  const branches = placeStates(points, options.leaves);
  const shown = {
    words: source.coachRecords.shownOf(options.step),
    feedback: source.feedbackOf(options.step),
  };
  for (const { state, samples } of branches.values()) {
    for (const sample of samples) copyPrefix(training.run, shown, { scope, state, sample });
  }
  const stage = createStage(training, {
    scope,
    samplers: await publishAll(training.policies),
    temperature: settings.temperature,
    ...(settings.filters && { filters: settings.filters }),
  });
  const requests = [...branches.values()].flatMap(({ state: { task }, samples }) =>
    samples.map((sample): PlayRequest => ({ task, sample })),
  );
  const { trajectories, outcomes } = await playAndJudge(training, stage, requests, {
    coached: false,
  });
  const played = new Map(trajectories.map((one) => [`${one.taskId}/${one.sample}`, one]));
  const valueAt = (state: PlayState): BranchValue => {
    const { samples } = branches.get(nameOf(state)) as Branches;
    const leaves = samples.map((sample) => {
      const trajectory = played.get(`${state.task.id}/${sample}`);
      if (trajectory === undefined || !isFrom(state, trajectory)) return undefined;
      return outcomes.get(trajectory.id)?.correct ?? null;
    });
    return branchValueOf(leaves);
  };
  return points.map(({ task, action, verdict, before, after }) => ({
    ...{ actionId: action.id, agent: action.agent, taskId: task.id },
    ...{ score: verdict.score, reason: verdict.reason, isLast: after.isEnd },
    ...{ before: valueAt(before), after: valueAt(after) },
  }));
}

type Branches = { readonly state: PlayState; readonly samples: readonly number[] };

/** Every state once, also where one action ends where the next begins, with the numbers of the plays that go on from it. */
function placeStates(
  points: readonly BranchPoint[],
  leaves: number,
): ReadonlyMap<string, Branches> {
  const branches = new Map<string, Branches>();
  const places = new Map<string, number>();
  for (const state of points.flatMap(({ before, after }) => [before, after])) {
    if (branches.has(nameOf(state))) continue;
    const place = places.get(state.task.id) ?? 0;
    places.set(state.task.id, place + 1);
    // Nothing is sampled any more where the play had ended: its leaves would all be the same.
    const count = state.isEnd ? 1 : leaves;
    const samples = Array.from({ length: count }, (_, leaf) => place * leaves + leaf);
    branches.set(nameOf(state), { state, samples });
  }
  return branches;
}

/** Plays that share their last action share all before it; with none, the state is the task's. */
function nameOf({ task, fixed }: PlayState): string {
  return fixed.at(-1)?.id ?? `the beginning of ${task.id}`;
}

/** What plays of the finished run were shown of the coach's verdicts. */
type Shown = {
  readonly words: ReadonlyMap<string, string | undefined>;
  readonly feedback: ReadonlyMap<string, Feedback>;
};

/** Gives a play that branches what it is to replay, as if it had been interrupted after that. */
function copyPrefix(
  run: Run,
  shown: Shown,
  at: { readonly scope: string; readonly state: PlayState; readonly sample: number },
): void {
  const { scope, state, sample } = at;
  const renamed = (id: string) =>
    `${scope}/${state.task.id}/${sample}/${id.slice(id.lastIndexOf('/') + 1)}`;
  for (const action of state.fixed) {
    const { id, parent } = action;
    run.recordAction(scope, {
      ...action,
      id: renamed(id),
      ...(parent === undefined ? {} : { parent: renamed(parent) }),
    });
    if (!shown.words.has(id)) continue;
    const verdict = shown.feedback.get(id);
    if (verdict) run.recordFeedback({ ...verdict, actionId: renamed(id) });
    run.coachRecords.recordShown(renamed(id), shown.words.get(id));
  }
}

/** Whether a leaf went through what it was to replay: a play whose code decides by chance may not. */
function isFrom({ fixed }: PlayState, { actions, failure }: Trajectory): boolean {
  if (failure) return false;
  return fixed.every(({ id }, at) => {
    const call = id.slice(id.lastIndexOf('/'));
    return actions[at]?.id.endsWith(call) === true;
  });
}
