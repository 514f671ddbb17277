import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeRandomModel } from '../../test/support/make-random-model.ts';
import { sampleAction, sampleTrajectory } from '../../test/support/sample-run.ts';
import { openTrainedVerifier } from '../coach/trained-verifier.ts';
import { liveTensors } from '../engine/tensor.ts';
import { openRun } from '../run/run-store.ts';
import { makeVerifier } from './train-verifier.ts';

let folder: string;
let model: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'teamtune-verifiers-'));
  model = join(folder, 'model');
  await makeRandomModel(model);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function actionSaying(token: number, id: string) {
  return sampleAction(id, {
    observation: Int32Array.of(60),
    tokens: Int32Array.of(token, 61),
    logprobs: Float32Array.of(-1, -1),
  });
}

/** A run of `tasks` tasks, each answered by both tokens, of which only the first is right. */
function recordRun(name: string, path: string, [right, wrong]: readonly [number, number]): string {
  const directory = join(folder, name);
  const run = openRun(directory, { mode: 'create' });
  run.setConfig({
    ...{ name, coach: 'sample', model: { path, threads: 1 }, training: { steps: 1 } },
    team: { name, agents: { solver: { role: 'Solver', maxTokens: 2 } } },
    tasks: { train: '16 tasks given in code' },
  });
  for (const [sample, token] of [right, wrong].entries()) {
    for (let task = 0; task < 16; task++) {
      const action = actionSaying(token, `1/t${task}/${sample}/0`);
      run.recordAction(1, action);
      run.recordTrajectory(1, sampleTrajectory(`1/t${task}/${sample}`, [action]));
      const answer = { agent: 'solver', turn: 1, isRight: token === right };
      run.discussions.record([{ ...answer, actionId: action.id }]);
    }
  }
  run.completeStep(1, 'step-000001');
  run.close();
  return directory;
}

const options = { loss: 'bce', steps: 40, learningRate: 1e-2, overrides: [] } as const;
const quiet = { ...options, onStep: () => undefined };

/** The points that a verifier gives an answer. */
async function pointsFor(token: number, directory: string): Promise<number> {
  const { coach, close } = await openTrainedVerifier(directory, { threads: 1 }, [model]);
  const task = { id: 't', prompt: '' };
  const verdict = await coach.score({ task, action: actionSaying(token, 'x/t/0/0'), earlier: [] });
  await close();
  return verdict.kind === 'scored' ? verdict.score : Number.NaN;
}

test('a verifier learns from a further run what the first had no answers of, and is assessed on both', async () => {
  const first = recordRun('first', model, [65, 66]);
  const further = recordRun('further', model, [65, 67]);
  const alone = await makeVerifier([first], join(folder, 'alone'), quiet);
  const both = await makeVerifier([first, further], join(folder, 'both'), quiet);
  expect(both.trainedOn).toBe(2 * alone.trainedOn);
  expect(both.answers).toBe(2 * alone.answers);
  expect(both.rightShare).toBe(0.5);
  expect(both.trainedOn + both.answers).toBe(2 * 2 * 16);
  expect(await pointsFor(65, join(folder, 'both'))).toBeGreaterThan(8);
  expect(await pointsFor(66, join(folder, 'both'))).toBeLessThan(2);
  expect(await pointsFor(67, join(folder, 'both'))).toBeLessThan(2);
});

test('runs of different models are refused, since their token ids mean different texts', async () => {
  const first = recordRun('own', model, [65, 66]);
  const foreign = recordRun('foreign', join(folder, 'other'), [65, 66]);
  await expect(makeVerifier([first, foreign], join(folder, 'none'), quiet)).rejects.toThrow(
    /--also: expected runs of .*model, as .*own is, got .*foreign of .*other; a verifier reads/,
  );
  const moved = { ...quiet, overrides: [...quiet.overrides, `model.path=${model}`] };
  await expect(makeVerifier([first, foreign], join(folder, 'none'), moved)).rejects.toThrow(
    /a verifier reads/,
  );
});

test('a verifier whose weights are gone leaves no engine behind', async () => {
  const directory = join(folder, 'empty');
  await mkdir(directory);
  await writeFile(join(directory, 'verifier.json'), JSON.stringify({ model }));
  const before = liveTensors();
  await expect(openTrainedVerifier(directory, { threads: 1 }, [model])).rejects.toThrow(
    'adapter_config.json',
  );
  expect(liveTensors()).toBe(before);
});
