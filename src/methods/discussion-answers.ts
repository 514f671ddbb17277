import type { DiscussionAnswer } from '../run/discussion-records.ts';
import type { Task } from '../types/task.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import type { Judged, Training } from './training.ts';

/** What an agent said when it was asked once: several actions where it called tools in between. */
export type Speech = {
  readonly agent: string;
  /** How often the agent had been asked before in this play. */
  readonly turn: number;
  readonly actions: readonly Action[];
  /** The action that ends with the answer. */
  readonly last: Action;
};

/** Every agent's answers of a play, turn by turn. */
export function speechesOf({ actions }: Trajectory): readonly Speech[] {
  const asked = new Map<string, number>();
  const calls = Map.groupBy(actions, ({ id }) => id.slice(0, id.lastIndexOf('.')));
  return [...calls.values()].map((own) => {
    const last = own.at(-1) as Action;
    const turn = asked.get(last.agent) ?? 0;
    asked.set(last.agent, turn + 1);
    return { agent: last.agent, turn, actions: own, last };
  });
}

/** The answer of a speech, graded as the team's answer would be. */
export function gradeSpeech(
  { grade }: Pick<Training, 'grade'>,
  { agent, turn, last }: Speech,
  of: { readonly task: Task; readonly trajectory: Trajectory },
): DiscussionAnswer {
  const outcome = grade(of.task, { ...of.trajectory, answer: last.text });
  return {
    ...{ actionId: last.id, agent, turn },
    ...(outcome?.extracted === undefined ? {} : { extracted: outcome.extracted }),
    ...(outcome === undefined ? {} : { isRight: outcome.correct }),
  };
}

/** The coach's points for an answer, in [0, 1]; undefined where it has none. */
export function verdictOf(
  feedback: Judged['feedback'],
  { actionId }: Pick<DiscussionAnswer, 'actionId'>,
): number | undefined {
  const verdict = feedback.get(actionId);
  return verdict?.kind === 'scored' ? verdict.score / 10 : undefined;
}

/** Grades every answer of an evaluation's plays and records it, with the verdict where the team asked for one. */
export function recordDiscussions(
  training: Training,
  tasks: readonly Task[],
  { trajectories, feedback }: Judged,
): void {
  const taskOf = new Map(tasks.map((task) => [task.id, task]));
  const answers = trajectories.flatMap((trajectory) => {
    const task = taskOf.get(trajectory.taskId);
    if (trajectory.failure || task === undefined) return [];
    return speechesOf(trajectory).map((speech) => {
      const answer = gradeSpeech(training, speech, { task, trajectory });
      const verdict = verdictOf(feedback, answer);
      return verdict === undefined ? answer : { ...answer, verdict };
    });
  });
  training.run.discussions.record(answers);
}
