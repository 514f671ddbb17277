import PQueue from 'p-queue';
import { allOrStop } from '../coach/all-or-stop.ts';
import { hasChangedFiles, rebuildFiles } from '../rollout/rebuild-files.ts';
import type { Workspace, Workspaces } from '../types/sandbox.ts';
import type { Task } from '../types/task.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import type { BranchPoint, ChosenBranches } from './choose-branches.ts';
import type { Training } from './training.ts';

/** An action whose files could not be made again, which keeps those from being branched from that need them. */
export type Obstacle = {
  readonly actionId: string;
  readonly reason: string;
  /** Drawn actions that are left out for it. */
  readonly actions: number;
};

export type DrawnPoints = {
  readonly points: readonly BranchPoint[];
  readonly obstacles: readonly Obstacle[];
  /** Ids under which the workspaces hold files that were made again, until they are removed. */
  readonly rebuilt: readonly string[];
};

/** Where the files of a finished run's play are made again. */
export function rebuildIdOf(step: number, { taskId, sample }: Trajectory): string {
  return `${rebuildScope(step)}/${taskId}/${sample}`;
}

const rebuildScope = (step: number) => `rebuild:${step}`;

/** The name of an action as one of another play. */
export function nameWithin(playId: string, actionId: string): string {
  return `${playId}/${actionId.slice(actionId.lastIndexOf('/') + 1)}`;
}

/** An action as one of another play, which replays it. */
export function copyOf(action: Action, playId: string): Action {
  const { id, parent } = action;
  const before = parent === undefined ? {} : { parent: nameWithin(playId, parent) };
  return { ...action, id: nameWithin(playId, id), ...before };
}

/**
 * Draws candidates until there are as many as asked for. Plays that had changed files before or with a drawn action have
 * them made again; where that does not give what was recorded, the action is left out and the next is drawn. What came of
 * each play is recorded, so that a command that is resumed draws the same, whatever its programs would do now.
 */
export async function drawPoints(
  training: Training,
  { candidates, sample }: ChosenBranches,
  step: number,
): Promise<DrawnPoints> {
  const stop = new AbortController();
  const { rebuilt, rebuild } = createRebuilder(training, step, stop.signal);
  const points: BranchPoint[] = [];
  const obstacles = new Map<string, Obstacle>();
  for (let drawn = 0; points.length < sample && drawn < candidates.length; ) {
    const next = candidates.slice(drawn, drawn + sample - points.length);
    drawn += next.length;
    const found = await allOrStop(
      next.map((point) => obstacleTo(point, rebuild)),
      stop,
    );
    for (const [at, point] of next.entries()) {
      const obstacle = found[at];
      if (obstacle === undefined) points.push(point);
      else {
        const { actions = 0 } = obstacles.get(obstacle.actionId) ?? {};
        obstacles.set(obstacle.actionId, { ...obstacle, actions: actions + 1 });
      }
    }
  }
  return { points, obstacles: [...obstacles.values()], rebuilt: [...rebuilt.keys()] };
}

type Rebuild = (task: Task, play: Trajectory) => Promise<Trajectory>;

async function obstacleTo(
  { task, after: { play, fixed } }: BranchPoint,
  rebuild: Rebuild,
): Promise<Omit<Obstacle, 'actions'> | undefined> {
  if (!fixed.some(hasChangedFiles)) return undefined;
  const { actions, failure } = await rebuild(task, play);
  const lacking = failure && fixed.slice(actions.length).find(hasChangedFiles);
  return lacking && { actionId: lacking.id, reason: failure.message };
}

function createRebuilder(training: Training, step: number, stop: AbortSignal) {
  const { run, tools, workspaces, settings, watch } = training;
  const scope = rebuildScope(step);
  const ended = new Map(run.trajectoriesOf(scope).map((play) => [play.id, play]));
  const queue = new PQueue({ concurrency: settings.concurrency });
  const rebuilt = new Map<string, Promise<Trajectory>>();
  let done = 0;
  const make = async (task: Task, recorded: Trajectory): Promise<Trajectory> => {
    const stage = { tools, workspaces, stop, playTimeoutMs: settings.playTimeoutMs };
    const play =
      ended.get(recorded.id) ?? (await queue.add(() => rebuildFiles(stage, task, recorded)));
    for (const action of play.actions) run.recordAction(scope, action);
    run.recordTrajectory(scope, play);
    watch.waiting('plays whose files are made again', ++done, rebuilt.size);
    return play;
  };
  const rebuild: Rebuild = (task, play) => {
    const id = rebuildIdOf(step, play);
    const actions = play.actions.map((action) => copyOf(action, id));
    const making = rebuilt.get(id) ?? make(task, { ...play, id, actions });
    rebuilt.set(id, making);
    return making;
  };
  return { rebuilt, rebuild };
}

/** Workspace and action that hold the files which a replayed action left. */
export type RebuiltAction = { readonly owner: string; readonly actionId: string };

/** The same workspaces, where actions that are replayed find the files that were made again, once for all who replay them. */
export function withRebuilt(
  workspaces: Workspaces,
  rebuilt: ReadonlyMap<string, RebuiltAction>,
): Workspaces {
  const open: Workspaces['open'] = async (playId, files) => {
    const workspace = await workspaces.open(playId, files);
    const restore: Workspace['restore'] = (id, recorded) => {
      const { actionId = id, ...place } = rebuilt.get(id) ?? {};
      return workspace.restore(actionId, { ...recorded, ...place });
    };
    return { ...workspace, restore };
  };
  return { ...workspaces, open };
}
