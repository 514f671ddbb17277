import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type VerifierLoss, verifierFile, verifierLosses } from '../coach/trained-verifier.ts';
import { configOfRun } from '../config/stored-config.ts';
import { BoundaryError } from '../errors.ts';
import type { Calibration } from '../methods/calibration.ts';
import {
  assessVerifier,
  gradedActionsOf,
  trainVerifier,
  type VerifierOptions,
} from '../methods/train-verifier.ts';
import { openRun } from '../run/run-store.ts';
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
    const made = await makeVerifier(directory, output, {
      ...optionsOf(request),
      loss,
      overrides: repeated(request, 'set'),
    });
    if (!request.json) console.log(describe(made, output));
    return { verifier: output, ...made };
  },
};

/** How a verifier is trained, and how the model of its run is changed. */
type MakeOptions = Omit<VerifierOptions, 'seed' | 'answersPerStep'> & {
  readonly loss: VerifierLoss;
  readonly overrides: readonly string[];
};

/** A verifier as it is described beside its weights. */
export type MadeVerifier = Calibration & {
  readonly loss: VerifierLoss;
  /** Answers that it could learn from. */
  readonly trainedOn: number;
};

/**
 * Trains a verifier from the graded answers of a run, writes it into a folder that must not exist, and says what it is worth.
 *
 * @throws BoundaryError when the run has no such answers, or its model is gone
 */
export async function makeVerifier(
  directory: string,
  output: string,
  { loss, overrides, ...options }: MakeOptions,
): Promise<MadeVerifier> {
  const run = openRun(directory, { mode: 'read' });
  try {
    const coach = { coach: 'unasked/coach' };
    const config = configOfRun(run.resolvedConfig, coach, { where: directory, overrides });
    const service = await createLocalService(config);
    try {
      const { rank, answersPerStep } = defaults;
      const shape = { rank, alpha: 2 * rank, valueHead: true };
      const policy = await service.createPolicy({ id: 'verifier', seed: config.seed, ...shape });
      const verifier = { policy, loss };
      const { train, heldOut } = gradedActionsOf(run);
      await trainVerifier(verifier, train, { ...options, answersPerStep, seed: config.seed });
      const assessment = await assessVerifier(verifier, heldOut);
      await policy.saveState(output).result;
      const written = { model: config.model.path, loss, ...assessment };
      await writeFile(join(output, verifierFile), `${JSON.stringify(written, undefined, 2)}\n`);
      return { loss, trainedOn: train.length, ...assessment };
    } finally {
      await service.close();
    }
  } finally {
    run.close();
  }
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
