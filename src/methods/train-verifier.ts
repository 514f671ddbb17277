import { answerDatum, predictRightness, type Verifier } from '../coach/trained-verifier.ts';
import { BoundaryError } from '../errors.ts';
import { createRandom, type Random, seedFor } from '../random.ts';
import type { Run } from '../run/run-store.ts';
import type { Action } from '../types/trajectory.ts';
import { type Calibration, calibrationOf } from './calibration.ts';

/** An answer whose grade is known. */
export type GradedAction = {
  readonly action: Action;
  readonly taskId: string;
  readonly isRight: boolean;
};

export type VerifierOptions = {
  readonly steps: number;
  /** Answers of one step, half of them right: else the head would learn how hard a question is. */
  readonly answersPerStep: number;
  readonly learningRate: number;
  readonly seed: number;
  readonly onStep: (step: number, loss: number) => void;
};

/**
 * Graded answers of a run's discussions, apart by task: about every fifth task is only for assessment.
 *
 * @throws BoundaryError("run") when there are answers, and no task is left for assessment
 */
export function gradedActionsOf(run: Run): {
  readonly train: readonly GradedAction[];
  readonly heldOut: readonly GradedAction[];
} {
  const steps = run.completedSteps().map(({ step }) => step);
  const graded = steps.flatMap((step) => {
    const grades = run.discussions.gradesOf(step);
    return run.trajectoriesOf(step).flatMap(({ taskId, actions }) =>
      actions.flatMap((action) => {
        const isRight = grades.get(action.id);
        return isRight === undefined ? [] : { action, taskId, isRight };
      }),
    );
  });
  const isHeldOut = ({ taskId }: GradedAction) => seedFor('verifier', taskId) % 5 === 0;
  const heldOut = graded.filter(isHeldOut);
  if (graded.length === 0) {
    throw new BoundaryError(
      'run',
      `${run.directory} has no graded answers to learn from: expected a run of MAPoRL whose tasks have answers`,
    );
  }
  if (heldOut.length === 0) {
    const tasks = new Set(graded.map(({ taskId }) => taskId)).size;
    throw new BoundaryError(
      'run',
      `a verifier is assessed on about every fifth task, by its name, and none of the ${tasks} tasks of ${run.directory} with graded answers is among those; take a run of more tasks`,
    );
  }
  return { train: graded.filter((one) => !isHeldOut(one)), heldOut };
}

/**
 * Trains a policy's value head, and the adapter below it, to predict after every token of an answer whether it is right.
 *
 * @param verifier whose loss is the paper's (`bce`) or squared error
 * @throws BoundaryError("run") when the answers are all right or all wrong
 * @see Park et al. 2025, arXiv:2502.18439, section 4.1
 */
export async function trainVerifier(
  verifier: Verifier,
  answers: readonly GradedAction[],
  options: VerifierOptions,
): Promise<void> {
  const { steps, answersPerStep, learningRate, seed, onStep } = options;
  const kinds = [true, false].map((kind) => answers.filter(({ isRight }) => isRight === kind));
  if (kinds.some(({ length }) => length === 0)) {
    throw new BoundaryError(
      'run',
      `a verifier needs right and wrong answers to learn from, got ${kinds[0]?.length} right and ${kinds[1]?.length} wrong; take a run of MAPoRL whose tasks have answers`,
    );
  }
  const { policy } = verifier;
  const loss = {
    kind: 'value',
    ...(verifier.loss === 'bce' && { isLogit: true as const }),
  } as const;
  const adam = { beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 };
  for (let step = 1; step <= steps; step++) {
    const random = createRandom(seedFor('verifier', seed, step));
    const batch = Array.from({ length: answersPerStep }, (_, at) =>
      drawn(kinds[at % 2] as GradedAction[], random),
    );
    const tokens = batch.reduce((sum, { action }) => sum + action.tokens.length, 0);
    const data = batch.map(({ action, isRight }) =>
      answerDatum(action, { value: Number(isRight), weight: 1 / tokens }),
    );
    const pass = policy.forwardBackward(data, loss);
    const update = policy.optimStep({ ...adam, learningRate });
    const [{ metrics }] = await Promise.all([pass.result, update.result]);
    onStep(step, metrics.loss ?? Number.NaN);
  }
}

function drawn(from: readonly GradedAction[], random: Random): GradedAction {
  return from[Math.floor(random.uniform() * from.length)] as GradedAction;
}

/** What a verifier is worth on answers it has not seen. */
export async function assessVerifier(
  verifier: Verifier,
  answers: readonly GradedAction[],
): Promise<Calibration> {
  const predicted = await predictRightness(
    verifier,
    answers.map(({ action }) => action),
  );
  return calibrationOf(
    answers.map(({ isRight }, row) => ({ isRight, predicted: predicted[row] as number })),
  );
}
