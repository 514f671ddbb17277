import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type VerifierLoss, verifierFile, verifierLosses } from '../coach/trained-verifier.ts';
import type { RunConfig } from '../config/schema.ts';
import { configOfRun } from '../config/stored-config.ts';
import { BoundaryError } from '../errors.ts';
import type { Calibration } from '../methods/calibration.ts';
import {
  assessVerifier,
  gradedActionsOf,
  trainVerifier,
  type VerifierOptions,
} from '../methods/train-verifier.ts';
import { openRun, type Run } from '../run/run-store.ts';
import { createLocalService } from '../wire-service.ts';
import { type Command, integer, optional, type Request, repeated } from './command.ts';
import { createProgress, percent, screenFor } from './progress.ts';

const defaults = { steps: 200, answersPerStep: 64, rank: 16, learningRate: 2e-4 };

export const trainVerifierCommand: Command = {
  summary:
    'Train a verifier from the graded answers of a MAPoRL run; use it as coach verifier/FOLDER.',
  operands: ['RUN'],
  options: {
    output: { type: 'string', help: 'folder of the verifier (default: verifier in the run)' },
    also: {
      type: 'string',
      multiple: true,
      help: 'a further run of the same model to learn from, too, as one that an earlier verifier rewarded',
    },
    steps: { type: 'string', help: `optimiser steps (default: ${defaults.steps})` },
    'learning-rate': { type: 'string', help: `AdamW’s (default: ${defaults.learningRate})` },
    loss: {
      type: 'string',
      help: 'squared, or bce (the paper’s): the head’s value is a probability, or its logit (default: squared)',
    },
    set: { type: 'string', multiple: true, help: 'override a key of model, as model.threads=1' },
  },
  run: async (request) => {
    const directory = resolve(request.operands[0] as string);
    const output = resolve(optional(request, 'output') ?? join(directory, 'verifier'));
    const loss = lossOf(request);
    if (existsSync(output)) {
      throw new BoundaryError('config', `${output} exists: choose another folder with --output`);
    }
    const runs = [directory, ...repeated(request, 'also').map((further) => resolve(further))];
    const twice = runs.find((run, index) => runs.indexOf(run) < index);
    if (twice !== undefined) {
      throw new BoundaryError(
        'config',
        `--also: ${twice} is named twice, and its answers would count twice`,
      );
    }
    const made = await makeVerifier(runs, output, {
      ...optionsOf(request),
      loss,
      overrides: repeated(request, 'set'),
    });
    if (!request.json) console.log(describe(made, output));
    return { verifier: output, ...made };
  },
};

/** How a verifier is trained, and how the model of its first run is changed. */
type MakeOptions = Omit<VerifierOptions, 'seed' | 'answersPerStep'> & {
  readonly loss: VerifierLoss;
  readonly overrides: readonly string[];
};

/** A verifier as it is described beside its weights. */
export type MadeVerifier = Calibration & {
  readonly loss: VerifierLoss;
  /** Answers that it could learn from, and how many of them are right. */
  readonly trainedOn: number;
  readonly rightShare: number;
};

/**
 * Trains a verifier from the graded answers of runs of one model, writes it into a folder that must not exist, and says what
 * it is worth.
 *
 * @param directories of one run or more
 * @throws BoundaryError when the runs have no such answers, or differ in their models, or the model is gone
 */
export async function makeVerifier(
  directories: readonly string[],
  output: string,
  { loss, overrides, ...options }: MakeOptions,
): Promise<MadeVerifier> {
  const runs = directories.map((directory) => openRun(directory, { mode: 'read' }));
  try {
    const config = configOf(runs, directories, overrides);
    const service = await createLocalService(config);
    try {
      const { rank, answersPerStep } = defaults;
      const shape = { rank, alpha: 2 * rank, valueHead: true };
      const policy = await service.createPolicy({ id: 'verifier', seed: config.seed, ...shape });
      const graded = runs.map(gradedActionsOf);
      const train = graded.flatMap((one) => one.train);
      const heldOut = graded.flatMap((one) => one.heldOut);
      const rightShare = train.filter(({ isRight }) => isRight).length / train.length;
      const verifier = { policy, loss, rightShare };
      await trainVerifier(verifier, train, { ...options, answersPerStep, seed: config.seed });
      const assessment = await assessVerifier(verifier, heldOut);
      await policy.saveState(output).result;
      const written = { model: config.model.path, loss, rightShare, ...assessment };
      await writeFile(join(output, verifierFile), `${JSON.stringify(written, undefined, 2)}\n`);
      return { loss, trainedOn: train.length, rightShare, ...assessment };
    } finally {
      await service.close();
    }
  } finally {
    for (const run of runs) run.close();
  }
}

/** The config of the first run, whose model all of them must have: a verifier reads their token ids. */
function configOf(
  runs: readonly Run[],
  directories: readonly string[],
  overrides: readonly string[],
): RunConfig {
  const configAt = (index: number, changes: readonly string[] = []): RunConfig => {
    const options = { where: directories[index] as string, overrides: changes };
    return configOfRun(runs[index]?.resolvedConfig, { coach: 'unasked/coach' }, options);
  };
  // As the runs were made: an override would make all of them the same.
  const [first, ...further] = runs.map((_, index) => configAt(index));
  const other = further.findIndex(({ model }) => model.path !== first?.model.path);
  if (other < 0) return configAt(0, overrides);
  throw new BoundaryError(
    'config',
    `--also: expected runs of ${first?.model.path}, as ${directories[0]} is, got ${directories[other + 1]} of ${further[other]?.model.path}; a verifier reads the token ids of one model`,
  );
}

function lossOf(request: Request): VerifierLoss {
  const asked = optional(request, 'loss') ?? 'squared';
  const loss = verifierLosses.find((name) => name === asked);
  if (loss !== undefined) return loss;
  throw new BoundaryError(
    'config',
    `--loss: expected ${verifierLosses.join(' or ')}, got "${asked}"`,
  );
}

function optionsOf(request: Request) {
  const steps = integer(request, 'steps', 1) ?? defaults.steps;
  const learningRate = Number(optional(request, 'learning-rate') ?? defaults.learningRate);
  if (!(learningRate > 0)) {
    throw new BoundaryError(
      'config',
      `--learning-rate: expected a number above 0, got ${optional(request, 'learning-rate')}`,
    );
  }
  const watch = createProgress(screenFor(process.stderr), { steps: 0, agents: [] });
  const onStep = (step: number) => watch.waiting('the verifier', step, steps);
  return { steps, learningRate, onStep };
}

function describe(assessment: Calibration, output: string): string {
  const { answers, right, accuracy, commoner, balancedAccuracy, brier } = assessment;
  const balanced = balancedAccuracy === undefined ? '–' : percent(balancedAccuracy);
  return [
    `on ${answers} answers to tasks it has not seen, ${percent(right)} of them right:`,
    `accuracy ${percent(accuracy)} (always the commoner: ${percent(commoner)}), balanced ${balanced}`,
    `Brier score ${brier.toFixed(3)}, calibration error ${assessment.calibrationError.toFixed(3)}`,
    `verifier: ${output}; as coach: verifier/${output}`,
  ].join('\n');
}
