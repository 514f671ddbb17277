import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { baseModelDirectory, makeBaseModel } from '../../teams/arithmetic/base-model.ts';
import quickstartRun from '../../teams/arithmetic/teamtune.config.ts';
import { configAsJson, resolveConfig } from '../config/load-config.ts';
import type { RunConfig } from '../config/schema.ts';
import { agentNames } from '../rollout/team.ts';
import { openRun } from '../run/run-store.ts';
import { type Command, repeated } from './command.ts';
import { explainInterrupt } from './explain-interrupt.ts';
import { createProgress, duration, type Screen, screenFor } from './progress.ts';
import { runTraining } from './run-training.ts';
import { describeResult } from './train.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

export const quickstartCommand: Command = {
  summary: 'Make a tiny base model and train a team of three on it, from nothing, on this machine.',
  operands: [],
  options: {
    set: {
      type: 'string',
      multiple: true,
      help: 'override a key, for example seed=2 or training.steps=10',
    },
  },
  run: async (request) => {
    const screen = screenFor(request.json ? process.stderr : process.stdout);
    const cache = join(root, '.teamtune');
    const model = await ensureBase(cache, screen);
    const config = resolveConfig(quickstartRun, {
      directory: root,
      where: 'the quickstart',
      overrides: [`model.path=${model}`, ...repeated(request, 'set')],
    });
    const place = nextRunDirectory(join(root, 'runs'), config);
    const { steps } = config.training;
    screen.write(
      `training: ${steps} steps of ${config.rollout.tasksPerStep} plays; a coach scores every action 0–10\n`,
    );
    const watch = createProgress(screen, { steps, agents: agentNames(config.team) });
    const result = await explainInterrupt(
      'the same command goes on where it stopped',
      (onInterrupt) => runTraining(config, { ...place, watch, onInterrupt }),
    );
    if (!request.json) console.log(describeResult(result));
    return result;
  },
};

async function ensureBase(cache: string, screen: Screen): Promise<string> {
  const directory = baseModelDirectory(cache);
  if (existsSync(directory)) {
    screen.write(`base model: already made, in ${directory}\n`);
    return directory;
  }
  screen.write('base model: learning the three roles from worked examples, about a minute\n');
  const started = performance.now();
  await makeBaseModel(cache, (step, steps, loss) => {
    if (screen.isTerminal) screen.write(`\r\x1b[2K  ${step}/${steps}  loss ${loss.toFixed(3)}`);
    else if (step % 100 === 0) screen.write(`  ${step}/${steps}  loss ${loss.toFixed(3)}\n`);
  });
  if (screen.isTerminal) screen.write('\r\x1b[2K');
  const took = duration((performance.now() - started) / 1000);
  screen.write(`base model: made in ${took}; it lies in ${directory}\n`);
  return directory;
}

/** An interrupted quickstart is gone on with; a finished one is kept and the next gets a new folder. */
function nextRunDirectory(
  runs: string,
  config: RunConfig,
): { readonly directory: string; readonly resume: boolean } {
  for (let number = 1; ; number++) {
    const directory = join(runs, number === 1 ? 'quickstart' : `quickstart-${number}`);
    if (!existsSync(join(directory, 'run.db'))) return { directory, resume: false };
    if (isInterrupted(directory, config)) return { directory, resume: true };
  }
}

/** As a run stores them; undefined where `--set` named a file instead, which is then not gone on with. */
function tasksInCode({ tasks: { train, heldOut } }: RunConfig): Parameters<typeof configAsJson>[1] {
  if (typeof train === 'string' || !Array.isArray(heldOut)) return undefined;
  return { tasks: train, heldOut: [{ tasks: heldOut }] };
}

function isInterrupted(directory: string, config: RunConfig): boolean {
  const run = openRun(directory, { mode: 'read' });
  try {
    const isFinished = run.evaluations().some(({ name }) => name === 'trained');
    const wanted: unknown = JSON.parse(JSON.stringify(configAsJson(config, tasksInCode(config))));
    return !isFinished && isDeepStrictEqual(run.resolvedConfig, wanted);
  } finally {
    run.close();
  }
}
