import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeRandomModel } from '../../test/support/make-random-model.ts';
import { sampleAction } from '../../test/support/sample-run.ts';
import { openTrainedVerifier, predictRightness, verifierFile } from '../coach/trained-verifier.ts';
import type { Run } from '../run/run-store.ts';
import {
  createLocalTrainingService,
  type LocalTrainingService,
} from '../service/local/local-training-service.ts';
import {
  assessVerifier,
  type GradedAction,
  gradedActionsOf,
  trainVerifier,
} from './train-verifier.ts';

let folder: string;
let model: string;
let service: LocalTrainingService;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-verifier-'));
  model = join(folder, 'model');
  await makeRandomModel(model);
  service = await createLocalTrainingService({ modelDirectory: model, threads: 1 });
});
afterAll(async () => {
  await service.close();
  await rm(folder, { recursive: true, force: true });
});

/** Two of four tokens are right answers, whatever the question. */
const answers = Array.from({ length: 16 }, (_, index): GradedAction => {
  const [question, said] = [index % 4, Math.floor(index / 4)];
  const action = sampleAction(`1/t${index}/0/0`, {
    observation: Int32Array.of(60, 65 + question),
    tokens: Int32Array.of(65 + said, 61),
    logprobs: Float32Array.of(-1, -1),
  });
  return { action, taskId: `t${index}`, isRight: said < 2 };
});
const options = { answersPerStep: 16, learningRate: 1e-2, seed: 1, onStep: () => undefined };

test.each(['squared', 'bce'] as const)(
  'a verifier learns by the loss %s what is right, and judges the same as a coach that is read from its folder',
  async (loss) => {
    const shape = { rank: 8, alpha: 16, valueHead: true };
    const policy = await service.createPolicy({ id: loss, seed: 1, ...shape });
    const verifier = { policy, loss, rightShare: 0.5 };
    await trainVerifier(verifier, answers, { ...options, steps: 40 });
    const assessment = await assessVerifier(verifier, answers);
    expect(assessment.accuracy).toBeGreaterThan(0.9);
    expect(assessment.balancedAccuracy).toBeGreaterThan(0.9);

    const directory = join(folder, loss);
    await policy.saveState(directory).result;
    await writeFile(join(directory, verifierFile), JSON.stringify({ model, loss }));
    const { coach, close } = await openTrainedVerifier(directory, { threads: 1 }, [model]);
    const task = { id: 't', prompt: '' };
    const scores = await Promise.all(
      answers.map(({ action }) => coach.score({ task, action, earlier: [] })),
    );
    const hits = scores.filter((verdict, at) => {
      return verdict.kind === 'scored' && verdict.score >= 5 === answers[at]?.isRight;
    });
    expect(hits.length / answers.length).toBe(assessment.accuracy);
    // The report is of what the coach says, in a tenth of its points.
    const squared = scores.map((verdict, at) => {
      return verdict.kind === 'scored'
        ? (verdict.score / 10 - Number(answers[at]?.isRight)) ** 2
        : 1;
    });
    expect(squared.reduce((sum, one) => sum + one, 0) / 16).toBeCloseTo(assessment.brier, 6);
    expect(coach.usage().calls).toBe(16);
    await close();

    const foreign = join(folder, `foreign-${loss}`);
    await makeRandomModel(foreign, { words: ['other'] });
    await expect(openTrainedVerifier(directory, { threads: 1 }, [foreign])).rejects.toThrow(
      /reads token ids of .*model, and .*foreign-\w+ has another tokenizer\.json/,
    );
  },
);

test('a run without answers, or none of whose tasks is left for assessment, is refused before anything is trained', () => {
  // By its name the one falls into the fifth that is held out, and t0 does not.
  const runOf = (tasks: readonly string[]) => {
    const plays = tasks.map((taskId) => ({ taskId, actions: [{ id: taskId }] }));
    return {
      directory: 'runs/own',
      completedSteps: () => [{ step: 1 }],
      discussions: { gradesOf: () => new Map(tasks.map((taskId) => [taskId, true])) },
      trajectoriesOf: () => plays,
    } as unknown as Run;
  };
  const heldOut = 't7';
  expect(gradedActionsOf(runOf(['t0', heldOut])).heldOut).toHaveLength(1);
  expect(() => gradedActionsOf(runOf(['t0']))).toThrow(
    /none of the 1 tasks of runs\/own with graded/,
  );
  expect(() => gradedActionsOf(runOf([]))).toThrow(/runs\/own has no graded answers/);
});

test('a verifier that has learned nothing says of every answer how many are right', async () => {
  const policy = await service.createPolicy({ id: 'fresh', seed: 1, rank: 2, valueHead: true });
  const actions = answers.slice(0, 1).map(({ action }) => action);
  const says = (rightShare: number) =>
    predictRightness({ policy, loss: 'bce', rightShare }, actions);
  expect(await says(0.5)).toEqual([0.5]);
  expect((await says(0.2))[0]).toBeCloseTo(0.2, 12);
  expect((await says(0.75))[0]).toBeCloseTo(0.75, 12);
});

test('only right answers teach nothing, and a folder that is no verifier is named', async () => {
  const policy = await service.createPolicy({ id: 'x', seed: 1, rank: 2, valueHead: true });
  const right = answers.filter(({ isRight }) => isRight);
  await expect(
    trainVerifier({ policy, loss: 'bce', rightShare: 0.5 }, right, { ...options, steps: 1 }),
  ).rejects.toThrow(/got 8 right and 0 wrong/);
  await expect(openTrainedVerifier(model, { threads: 1 }, [])).rejects.toThrow(
    /must name a folder that `teamtune train-verifier` wrote/,
  );
});
