import PQueue from 'p-queue';
import { allOrStop } from '../../coach/all-or-stop.ts';
import { createScorer, type Scorer } from '../../coach/score-actions.ts';
import { type NodeValue, treeValues } from '../../credit/tree-values.ts';
import { BoundaryError } from '../../errors.ts';
import { createCollector } from '../../rollout/collect.ts';
import { type Expansion, nextLeaves, type PlayedLeaf } from '../../rollout/next-leaves.ts';
import type { Feedback, Outcome } from '../../types/feedback.ts';
import type { Task } from '../../types/task.ts';
import type { Trajectory } from '../../types/trajectory.ts';
import { endedPlays, refuseTooManyFailures } from '../play-and-judge.ts';
import { createStage, publishAll, type Training } from '../training.ts';
import { type LeafJudge, leafValue, leafValueOf } from './leaf-value.ts';

/** All plays of one question, with what each action is worth. */
export type QuestionTree = {
  readonly task: Task;
  readonly trajectories: readonly Trajectory[];
  /** By action id; actions that only broken or unjudged plays went through have none. */
  readonly values: ReadonlyMap<string, NodeValue>;
  /** Mean over its judged plays; absent where there is none. */
  readonly value?: number;
};

type Growth = {
  readonly scope: string;
  readonly tasks: readonly Task[];
  readonly expansion: Expansion;
  readonly judge: LeafJudge;
};

/** What the growing of one question's tree needs. */
type Plot = {
  readonly training: Training;
  readonly growth: Growth;
  readonly play: (task: Task, leaf: number) => Promise<Trajectory>;
  readonly ended: ReadonlyMap<string, Trajectory>;
  readonly scorer: Scorer;
  readonly stop: AbortController;
  readonly onLeaf: () => void;
};

/**
 * Grows a tree of plays for every question with the policies as they are now: beginnings that plays share are sampled
 * once, by the play that comes to them first. What the run store holds of this scope is taken from there.
 *
 * @throws BoundaryError when more than the permitted share of plays failed, or the coach failed for good
 */
export async function growTrees(
  training: Training,
  growth: Growth,
): Promise<readonly QuestionTree[]> {
  const { run, settings, watch } = training;
  const { scope, tasks, expansion } = growth;
  const stage = createStage(training, {
    scope,
    samplers: await publishAll(training.policies),
    temperature: settings.temperature,
    ...(settings.filters && { filters: settings.filters }),
  });
  const finished = new Map(stage.finished);
  const stop = new AbortController();
  const collect = createCollector(
    {
      ...stage,
      ...{ finished, branching: expansion.branching, stop: stop.signal },
      onAction: (action) => {
        stage.onAction(action);
        finished.set(action.id, action);
      },
      verdictOn: async () => undefined,
    },
    settings.concurrency,
  );
  const scorer = createScorer(training.coach, {
    known: run.feedbackOf(scope),
    record: (verdict) => run.recordFeedback(verdict),
    queue: new PQueue({ concurrency: settings.coachConcurrency }),
    signal: stop.signal,
  });
  let leaves = 0;
  const plot: Plot = {
    ...{ training, growth, scorer, stop },
    play: (task, sample) => collect({ task, sample }),
    ended: endedPlays(training, scope, run.trajectoriesOf(scope).length),
    onLeaf: () => watch.waiting('leaves of the trees', ++leaves, leaves),
  };
  try {
    const trajectories = await allOrStop(
      tasks.map((task) => growTree(plot, task)),
      stop,
    );
    refuseTooManyFailures(trajectories.flat(), settings.failedShareLimit);
  } finally {
    await scorer.settled();
  }
  return readTrees(training, growth);
}

async function growTree(plot: Plot, task: Task): Promise<readonly Trajectory[]> {
  const { growth, training, stop } = plot;
  const played = new Map<number, PlayedLeaf>();
  const trajectories: Trajectory[] = [];
  for (;;) {
    const wave = nextLeaves(played, growth.expansion);
    if (wave.length === 0) break;
    const leaves = await allOrStop(
      wave.map((leaf) => growLeaf(plot, task, leaf)),
      stop,
    );
    for (const { trajectory, value } of leaves) {
      const actions = trajectory.actions.length;
      played.set(trajectory.sample, { actions, ...(value === undefined ? {} : { value }) });
      trajectories.push(trajectory);
    }
  }
  // Only now: until the tree is grown, other leaves find the files of what they replay there.
  for (const { id } of trajectories) await training.workspaces.remove(id);
  return trajectories;
}

async function growLeaf(
  plot: Plot,
  task: Task,
  leaf: number,
): Promise<{ readonly trajectory: Trajectory; readonly value: number | undefined }> {
  const { growth, training } = plot;
  const trajectory = plot.ended.get(`${task.id}/${leaf}`) ?? (await plot.play(task, leaf));
  const outcome = trajectory.failure ? undefined : training.grade(task, trajectory);
  training.run.recordTrajectory(growth.scope, trajectory, outcome);
  const verdict =
    growth.judge === 'coach' ? await verdictOn(plot, { task, trajectory, outcome }) : undefined;
  plot.onLeaf();
  return { trajectory, value: leafValue(growth.judge, outcome, verdict) };
}

/** The coach's word on the last action of a play, which has seen all of it. */
async function verdictOn(
  { scorer, training: { settings } }: Plot,
  leaf: {
    readonly task: Task;
    readonly trajectory: Trajectory;
    readonly outcome: Outcome | undefined;
  },
): Promise<Feedback | undefined> {
  const { task, trajectory, outcome } = leaf;
  const action = trajectory.actions.at(-1);
  if (trajectory.failure || action === undefined) return undefined;
  const earlier = trajectory.actions.slice(0, -1);
  return scorer.score({
    ...{ task, action, earlier },
    ...(settings.showOutcome === true && outcome !== undefined && { outcome }),
  });
}

/**
 * The trees of a scope as the run store has them.
 *
 * @throws BoundaryError("coach") when more leaves than permitted have no value
 */
export function readTrees(
  { run, settings }: Training,
  { scope, tasks, judge }: Omit<Growth, 'expansion'>,
): readonly QuestionTree[] {
  const [outcomes, feedback] = [run.outcomesOf(scope), run.feedbackOf(scope)];
  const worthOf = leafValueOf(judge, { outcomes, feedback });
  const trajectories = run.trajectoriesOf(scope);
  const whole = trajectories.filter(({ failure }) => failure === undefined);
  const unjudged = whole.filter((trajectory) => worthOf(trajectory) === undefined).length;
  if (unjudged > settings.unscoredShareLimit * whole.length) {
    throw new BoundaryError(
      'coach',
      `${unjudged} of ${whole.length} leaves have no value (coaching.unscoredShareLimit is ${settings.unscoredShareLimit})`,
    );
  }
  const byTask = Map.groupBy(trajectories, ({ taskId }) => taskId);
  return tasks.map((task) => treeOf(task, byTask.get(task.id) ?? [], worthOf));
}

function treeOf(
  task: Task,
  trajectories: readonly Trajectory[],
  worthOf: (trajectory: Trajectory) => number | undefined,
): QuestionTree {
  const paths = trajectories.flatMap((trajectory) => {
    const value = worthOf(trajectory);
    const actionIds = trajectory.actions.map(({ id }) => id);
    return value === undefined ? [] : [{ actionIds, value }];
  });
  const tree = { task, trajectories, values: treeValues(paths) };
  if (paths.length === 0) return tree;
  return { ...tree, value: paths.reduce((sum, { value }) => sum + value, 0) / paths.length };
}
