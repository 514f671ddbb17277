import { BoundaryError } from '../errors.ts';
import type { PlayRequest } from '../rollout/collect.ts';
import { hasChangedFiles } from '../rollout/rebuild-files.ts';
import type { Run } from '../run/run-store.ts';
import type { Feedback } from '../types/feedback.ts';
import type { Trajectory } from '../types/trajectory.ts';
import { type BranchedAction, type BranchValue, branchValueOf } from './branch-agreement.ts';
import type { BranchPoint, ChosenBranches, PlayState } from './choose-branches.ts';
import { playAndJudge } from './play-and-judge.ts';
import {
  copyOf,
  drawPoints,
  nameWithin,
  type Obstacle,
  type RebuiltAction,
  rebuildIdOf,
  withRebuilt,
} from './rebuild-plays.ts';
import { createStage, publishAll, type Training } from './training.ts';

export type BranchOptions = {
  readonly step: number;
  /** Plays from one state. */
  readonly leaves: number;
};

/** What the branches came to, and what kept others from being played. */
export type PlayedBranches = {
  readonly actions: readonly BranchedAction[];
  readonly obstacles: readonly Obstacle[];
};

/**
 * Plays on from the state before and the state after each action with the training's policies, as the run did: at its
 * temperature, with its filters. Replayed actions are taken as they were sampled, token by token, and find the files that
 * tools of the run had left. What the run store holds of these plays is not played again.
 *
 * @param source the finished run, which is only read
 * @throws BoundaryError when more than the permitted share of plays failed, the team now asks its agents something else, or
 * the files that every action needs cannot be made again
 */
export async function playBranches(
  training: Training,
  source: Run,
  chosen: ChosenBranches,
  options: BranchOptions,
): Promise<PlayedBranches> {
  const { settings, workspaces } = training;
  const { step } = options;
  const scope = `branch:${step}`;
  const { points, obstacles, rebuilt } = await drawPoints(training, chosen, step);
  if (points.length === 0) refuseObstacles(source, step, obstacles);
  const branches = placeStates(points, options.leaves);
  const shown = {
    words: source.coachRecords.shownOf(step),
    feedback: source.feedbackOf(step),
  };
  const files = new Map<string, RebuiltAction>();
  for (const { state, samples } of branches.values()) {
    for (const sample of samples) {
      const playId = `${scope}/${state.task.id}/${sample}`;
      copyPrefix(training.run, shown, { scope, state, playId });
      for (const [id, place] of rebuiltActions(state, step, playId)) files.set(id, place);
    }
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
  const sharing = { ...stage, workspaces: withRebuilt(workspaces, files) };
  const { trajectories, outcomes } = await playAndJudge(training, sharing, requests, {
    coached: false,
  });
  // Only now: until all branches are played, any of them may be resumed.
  for (const id of rebuilt) await workspaces.remove(id);
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
  const actions = points.map(({ task, action, verdict, before, after }) => ({
    ...{ actionId: action.id, agent: action.agent, taskId: task.id },
    ...{ score: verdict.score, reason: verdict.reason, isLast: after.isEnd },
    ...{ before: valueAt(before), after: valueAt(after) },
  }));
  return { actions, obstacles };
}

function refuseObstacles(source: Run, step: number, [first]: readonly Obstacle[]): never {
  throw new BoundaryError(
    'run',
    `every scored action of step ${step} of ${source.directory} comes after a tool that changed files of its play, and those cannot be made again: they cannot be branched from (the first: ${first?.actionId}: ${first?.reason})`,
  );
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
  at: { readonly scope: string; readonly state: PlayState; readonly playId: string },
): void {
  const { scope, state, playId } = at;
  for (const action of state.fixed) {
    const { id } = action;
    const copy = copyOf(action, playId);
    run.recordAction(scope, copy);
    if (!shown.words.has(id)) continue;
    const verdict = shown.feedback.get(id);
    if (verdict) run.recordFeedback({ ...verdict, actionId: copy.id });
    run.coachRecords.recordShown(copy.id, shown.words.get(id));
  }
}

/** Of the actions that a play replays, where the files are that they left. */
function rebuiltActions(
  { play, fixed }: PlayState,
  step: number,
  playId: string,
): readonly (readonly [string, RebuiltAction])[] {
  const owner = rebuildIdOf(step, play);
  return fixed
    .filter(hasChangedFiles)
    .map(({ id }) => [nameWithin(playId, id), { owner, actionId: nameWithin(owner, id) }]);
}

/** Whether a leaf went through what it was to replay: a play whose code decides by chance may not. */
function isFrom({ fixed }: PlayState, { actions, failure }: Trajectory): boolean {
  if (failure) return false;
  return fixed.every(({ id }, at) => {
    const call = id.slice(id.lastIndexOf('/'));
    return actions[at]?.id.endsWith(call) === true;
  });
}
