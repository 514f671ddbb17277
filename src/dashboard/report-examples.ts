import { readEvaluationName } from '../run/evaluation-name.ts';
import { type Evaluation, evaluationScope, type Run } from '../run/run-store.ts';
import type { Feedback, Outcome } from '../types/feedback.ts';
import type { Trajectory } from '../types/trajectory.ts';

/** A play worth reading, with everything that was said about it. */
export type Example = {
  readonly title: string;
  readonly why: string;
  readonly trajectory: Trajectory;
  readonly feedback: ReadonlyMap<string, Feedback>;
  readonly outcome?: Outcome;
};

type Play = Omit<Example, 'title' | 'why'> & { readonly step: number };

/** How many steps at each end are searched, so that a long run's report does not read all of it. */
const searchedSteps = 10;

/** Up to three plays: one that went wrong early, one that went right later, one of the trained team. */
export function chooseExamples(run: Run, steps: readonly number[]): Example[] {
  const early = best(playsOf(run, steps.slice(0, searchedSteps)), blameWorth);
  const later = playsOf(run, steps.slice(searchedSteps).slice(-searchedSteps).reverse());
  const candidates = later.length > 0 ? later : playsOf(run, steps.slice(1).reverse());
  const fixed = best(candidates, (play) => successWorth(play, early));
  const isSameTask = fixed?.trajectory.taskId === early?.trajectory.taskId;
  const examples: (Example | undefined)[] = [
    early && { ...early, title: `Step ${early.step}: where it went wrong`, why: blameOf(early) },
    fixed && {
      ...fixed,
      title: `Step ${fixed.step}: ${isSameTask ? 'the same task, fixed' : 'a later play that succeeds'}`,
      why:
        scoredOf(fixed).length === 0
          ? 'The team answered correctly.'
          : 'The team answered correctly; the coach scored each action.',
    },
    trainedExample(run),
  ];
  return examples.filter((example) => example !== undefined);
}

function playsOf(run: Run, steps: readonly number[]): Play[] {
  return steps.flatMap((step) => {
    const feedback = run.feedbackOf(step);
    const outcomes = run.outcomesOf(step);
    return run.trajectoriesOf(step).map((trajectory) => {
      const outcome = outcomes.get(trajectory.id);
      return { step, trajectory, feedback, ...(outcome === undefined ? {} : { outcome }) };
    });
  });
}

/** The first of the highest; zero is not worth showing. */
function best(plays: readonly Play[], worth: (play: Play) => number): Play | undefined {
  let chosen: Play | undefined;
  let highest = 0;
  for (const play of plays) {
    const value = worth(play);
    if (value <= highest) continue;
    chosen = play;
    highest = value;
  }
  return chosen;
}

function scoredOf(play: Play) {
  const feedback = play.trajectory.actions.map((action) => play.feedback.get(action.id));
  return feedback.filter((entry) => entry?.kind === 'scored');
}

/** A wrong play teaches most where the coach traced the fault to another agent. */
function blameWorth(play: Play): number {
  if (play.outcome?.correct !== false || play.trajectory.failure !== undefined) return 0;
  const blames = scoredOf(play).map(({ blame }) => blame);
  const isComplete = blames.length === play.trajectory.actions.length ? 1 : 0;
  if (blames.includes('upstream')) return 5 + isComplete;
  if (blames.includes('self')) return 3 + isComplete;
  return 1 + isComplete;
}

function successWorth(play: Play, early: Play | undefined): number {
  if (play.outcome?.correct !== true) return 0;
  const scored = scoredOf(play);
  const mean = scored.reduce((total, { score }) => total + score, 0) / Math.max(1, scored.length);
  return 1 + mean / 10 + (play.trajectory.taskId === early?.trajectory.taskId ? 10 : 0);
}

function blameOf(play: Play): string {
  const feedback = scoredOf(play).find(({ blame }) => blame === 'upstream');
  const blamed = feedback?.blamedAgent;
  if (blamed !== undefined)
    return `The team’s answer was wrong; the coach traced the fault to ${blamed}.`;
  const own = play.trajectory.actions.find(({ id }) => {
    const entry = play.feedback.get(id);
    return entry?.kind === 'scored' && entry.blame === 'self';
  });
  if (own === undefined) return 'The team’s answer was wrong.';
  return `The team’s answer was wrong; the coach traced the fault to ${own.agent}.`;
}

/** A held-out task that the trained team solved, best one that the base team did not. */
function trainedExample(run: Run): Example | undefined {
  const evaluations = run.evaluations();
  const trained = evaluations.at(-1);
  const setOf = (name: string) => readEvaluationName(name).set;
  const base = evaluations.find(({ name }) => setOf(name) === setOf(trained?.name ?? ''));
  if (trained === undefined || base === undefined || trained === base) return undefined;
  const failed = failedTasks(base);
  const solved = trained.rows.filter(({ correct }) => correct);
  const row = solved.find(({ taskId }) => failed.has(taskId)) ?? solved[0];
  const trajectory = row === undefined ? undefined : run.trajectory(row.trajectoryId);
  if (row === undefined || trajectory === undefined) return undefined;
  const isFirst = failed.has(row.taskId);
  const extracted = row.extracted;
  return {
    title: 'After training: a held-out task',
    why: isFirst
      ? 'Before training the team did not solve this task; the trained team did. No coach looks at evaluations.'
      : 'The trained team solved a task it was never trained on. No coach looks at evaluations.',
    trajectory,
    feedback: run.feedbackOf(evaluationScope(trained.name)),
    outcome: {
      trajectoryId: trajectory.id,
      correct: true,
      ...(extracted === undefined ? {} : { extracted }),
    },
  };
}

function failedTasks(evaluation: Evaluation): Set<string> {
  const solved = new Set(evaluation.rows.filter((row) => row.correct).map((row) => row.taskId));
  return new Set(evaluation.rows.map((row) => row.taskId).filter((id) => !solved.has(id)));
}
