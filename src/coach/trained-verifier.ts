import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';
import {
  createLocalTrainingService,
  type LocalTrainingServiceOptions,
} from '../service/local/local-training-service.ts';
import type { Coach, Feedback } from '../types/feedback.ts';
import type { Datum, Policy } from '../types/training-service.ts';
import type { Action } from '../types/trajectory.ts';

/** The file beside a verifier's weights that says which model they belong to. */
export const verifierFile = 'verifier.json';

/** What a verifier's head says: how likely an answer is right (`squared`), or that as a logit (`bce`). */
export const verifierLosses = ['squared', 'bce'] as const;
export type VerifierLoss = (typeof verifierLosses)[number];

const description = z.looseObject({
  model: z.string(),
  loss: z.enum(verifierLosses).default('squared'),
  rightShare: z.number().gt(0).lt(1).default(0.5),
});

/** A coach with the engine that must be closed after it. */
export type TrainedVerifier = { readonly coach: Coach; readonly close: () => Promise<void> };

/**
 * A verifier as `teamtune train-verifier` wrote it: a value head on our engine that predicts how likely an answer is right,
 * from what the agent saw and wrote. It needs no ground truth and costs nothing; points are ten times its prediction.
 *
 * @param players the model folders of the agents that it is to judge: it reads their very token ids
 * @throws BoundaryError("config") when the folder holds no verifier, its model is gone, or a player has another tokenizer
 */
export async function openTrainedVerifier(
  directory: string,
  options: Omit<LocalTrainingServiceOptions, 'modelDirectory' | 'model' | 'seed'>,
  players: readonly string[],
): Promise<TrainedVerifier> {
  const { model, loss, rightShare } = await describedIn(directory);
  for (const player of players) await refuseOtherTokenizer(directory, { model, player });
  const service = await createLocalTrainingService({ modelDirectory: model, ...options });
  try {
    const policy = await service.createPolicy({
      ...{ id: 'verifier', seed: 0, rank: 'stored', valueHead: true },
      from: { directory, optimizer: false },
    });
    return { coach: asCoach(directory, { policy, loss, rightShare }), close: service.close };
  } catch (error) {
    await service.close();
    throw error;
  }
}

/** The model folder that a verifier stands on. */
export async function modelOfVerifier(directory: string): Promise<string> {
  return (await describedIn(directory)).model;
}

async function describedIn(directory: string): Promise<z.output<typeof description>> {
  try {
    return description.parse(JSON.parse(await readFile(join(directory, verifierFile), 'utf8')));
  } catch (cause) {
    throw new BoundaryError(
      'config',
      `The coach "verifier/${directory}" must name a folder that \`teamtune train-verifier\` wrote (${messageOf(cause)})`,
      { cause },
    );
  }
}

async function refuseOtherTokenizer(
  directory: string,
  { model, player }: { readonly model: string; readonly player: string },
): Promise<void> {
  const [own, other] = await Promise.all([tokenizerOf(model), tokenizerOf(player)]);
  if (own.equals(other)) return;
  throw new BoundaryError(
    'config',
    `The coach "verifier/${directory}" reads token ids of ${model}, and ${player} has another tokenizer.json: train a verifier on a run of that model`,
  );
}

async function tokenizerOf(folder: string): Promise<Buffer> {
  const path = join(folder, 'tokenizer.json');
  try {
    return await readFile(path);
  } catch (cause) {
    throw new BoundaryError(
      'config',
      `Expected a model folder with a tokenizer.json, found none at ${path} (${messageOf(cause)})`,
      { cause },
    );
  }
}

type Waiting = { readonly action: Action; readonly done: (value: Promise<number>) => void };

/** Actions that are to be judged at the same time go through the model together. */
function asCoach(directory: string, verifier: Verifier): Coach {
  let waiting: Waiting[] = [];
  let calls = 0;
  const flush = () => {
    const batch = waiting;
    waiting = [];
    const predicted = predictRightness(
      verifier,
      batch.map(({ action }) => action),
    );
    // Each waits for its own entry, and hears of a failure there.
    for (const [row, { done }] of batch.entries()) {
      done(predicted.then((values) => values[row] ?? Number.NaN));
    }
  };
  return {
    name: `verifier/${directory}`,
    usage: () => ({ calls, inputTokens: 0, outputTokens: 0 }),
    score: async ({ action }): Promise<Feedback> => {
      const actionId = action.id;
      if (action.tokens.length === 0) return { kind: 'unscored', actionId, cause: 'it is empty' };
      calls++;
      const value = await new Promise<number>((resolve) => {
        if (waiting.push({ action, done: resolve }) === 1) setImmediate(flush);
      });
      if (!Number.isFinite(value)) {
        return { kind: 'unscored', actionId, cause: 'the verifier’s value is no number' };
      }
      const reason = `The verifier takes it to be right with probability ${value.toFixed(2)}.`;
      return { kind: 'scored', actionId, score: 10 * value, reason, blame: 'none' };
    },
  };
}

/** A policy with a value head that was trained on as many right as wrong answers. */
export type Verifier = {
  readonly policy: Policy;
  readonly loss: VerifierLoss;
  /** How many of the answers that it could learn from are right, above 0 and below 1. */
  readonly rightShare: number;
};

/**
 * How likely each answer is right, within 0 and 1: what the value head says after the last token, which holds where half of all
 * answers are right, moved to the share that is.
 *
 * @see Elkan 2001, "The foundations of cost-sensitive learning", theorem 2
 */
export async function predictRightness(
  { policy, loss, rightShare }: Verifier,
  actions: readonly Action[],
): Promise<number[]> {
  const { values = [] } = await policy.forward(actions.map((action) => answerDatum(action))).result;
  const asProbability = {
    squared: (value: number) => Math.min(1, Math.max(0, value)),
    bce: (value: number) => 1 / (1 + Math.exp(-value)),
  }[loss];
  return values.map((row) => {
    const balanced = asProbability(row.at(-1) ?? Number.NaN);
    const right = balanced * rightShare;
    return right / (right + (1 - balanced) * (1 - rightShare));
  });
}

/**
 * An answer as a row for the loss `value`: the head predicts after every token of the answer what it is worth. The last
 * target is never looked at, since the row ends with the answer.
 *
 * @param label what the head is to predict, and how much a token counts; absent = nothing is trained
 */
export function answerDatum(
  { observation, tokens }: Action,
  label?: { readonly value: number; readonly weight: number },
): Datum {
  const input = new Int32Array(observation.length + tokens.length);
  input.set(observation);
  input.set(tokens, observation.length);
  const target = new Int32Array(input.length);
  target.set(input.subarray(1));
  const first = observation.length;
  const weights = new Float32Array(input.length).fill(label?.weight ?? 1, first);
  const returns = new Float32Array(input.length).fill(label?.value ?? 0, first);
  return { input, target, weights, ...(label && { returns }) };
}
