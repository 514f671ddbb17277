import {
  type InfluenceOptions,
  influenceRewards,
  type RewardParts,
} from '../credit/influence-rewards.ts';
import type { DiscussionAnswer } from '../run/discussion-records.ts';
import type { Task } from '../types/task.ts';
import type { Trajectory } from '../types/trajectory.ts';
import { gradeSpeech, speechesOf, verdictOf } from './discussion-answers.ts';
import type { Judged, Training } from './training.ts';

/** Answers of discussions with what they earned. */
export type RewardedAnswers = {
  readonly answers: readonly { readonly answer: DiscussionAnswer; readonly play: string }[];
  /** By action id: an answer's reward counts for every action that led to it. */
  readonly rewards: ReadonlyMap<string, number>;
  /** By action id: its turn, within which actions are compared with one another. */
  readonly kinds: ReadonlyMap<string, string>;
};

export type RewardSource = Pick<Training, 'grade'> &
  Pick<Judged, 'trajectories' | 'feedback'> & {
    readonly taskOf: (id: string) => Task | undefined;
    /** Whether an answer's verdict is its grade; else the coach's points/10. */
    readonly isGraded: boolean;
  };

/** Grades, judges and rewards every answer of the plays that did not fail. */
export function rewardDiscussions(
  source: RewardSource,
  options: InfluenceOptions,
): RewardedAnswers {
  const rewards = new Map<string, number>();
  const kinds = new Map<string, string>();
  const answers = source.trajectories.flatMap((trajectory) => {
    const graded = judgedAnswers(source, trajectory);
    const earned = influenceRewards(graded, options);
    for (const { actions, last, turn } of speechesOf(trajectory)) {
      const parts = earned.get(last.id);
      for (const { id } of actions) {
        kinds.set(id, String(turn));
        if (parts !== undefined) rewards.set(id, parts.reward);
      }
    }
    return graded.map((answer) => {
      const reward: RewardParts | undefined = earned.get(answer.actionId);
      return { answer: reward ? { ...answer, reward } : answer, play: trajectory.id };
    });
  });
  return { answers, rewards, kinds };
}

function judgedAnswers(source: RewardSource, trajectory: Trajectory): DiscussionAnswer[] {
  const task = source.taskOf(trajectory.taskId);
  if (trajectory.failure || task === undefined) return [];
  return speechesOf(trajectory).map((speech) => {
    const answer = gradeSpeech(source, speech, { task, trajectory });
    const verdict = source.isGraded ? gradeOf(answer) : verdictOf(source.feedback, answer);
    return verdict === undefined ? answer : { ...answer, verdict };
  });
}

function gradeOf({ isRight }: DiscussionAnswer): number | undefined {
  return isRight === undefined ? undefined : Number(isRight);
}
