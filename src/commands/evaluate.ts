import { join, resolve } from 'node:path';
import { loadConfig } from '../config/load-config.ts';
import { type Evaluation, evaluateSets } from '../evaluate.ts';
import { agentNames } from '../rollout/team.ts';
import { readEvaluationName } from '../run/evaluation-name.ts';
import { type OnInterrupt, wireEvaluation } from '../wiring.ts';
import { type Command, optional, repeated } from './command.ts';
import { explainInterrupt } from './explain-interrupt.ts';
import { createProgress, percent, screenFor } from './progress.ts';
import { refuseWrongDirectory } from './run-directory.ts';
import { coachUsage, resultOf } from './run-training.ts';

export const evaluateCommand: Command = {
  summary:
    'Play the held-out tasks and grade them by rule: mean, majority vote, pass@k, 95 % interval.',
  operands: ['CONFIG'],
  options: {
    set: {
      type: 'string',
      multiple: true,
      help: 'override a key, for example evaluation.samplesPerTask=4',
    },
    checkpoint: {
      type: 'string',
      help: 'folder of a checkpoint to evaluate (default: the untrained team)',
    },
    untrained: {
      type: 'string',
      multiple: true,
      help: 'an agent that plays as the base does, beside those of the checkpoint',
    },
    output: {
      type: 'string',
      help: 'folder of the record (default: runs/ and the name, with -evaluation)',
    },
    resume: { type: 'boolean', help: 'go on with the evaluation in that folder' },
  },
  run: async (request) => {
    const config = await loadConfig(request.operands[0] as string, repeated(request, 'set'));
    const directory = resolve(
      optional(request, 'output') ?? join('runs', `${config.name}-evaluation`),
    );
    const resume = request.values.resume === true;
    refuseWrongDirectory(directory, { resume, what: 'evaluation' });
    const watch = createProgress(screenFor(request.json ? process.stderr : process.stdout), {
      steps: 0,
      agents: agentNames(config.team),
    });
    const checkpoint = optional(request, 'checkpoint');
    // As a set, so that the same command in other words goes on with the same record.
    const untrained = [...new Set(repeated(request, 'untrained'))].toSorted();
    const play = async (onInterrupt: OnInterrupt) => {
      const { training, close } = await wireEvaluation(config, {
        ...{ directory, resume, watch, onInterrupt },
        ...(checkpoint === undefined ? {} : { checkpoint: resolve(checkpoint) }),
        ...(untrained.length > 0 && { untrained }),
      });
      try {
        const evaluations = await evaluateSets(training, 'evaluation');
        return { evaluations, usage: coachUsage(training.run) };
      } finally {
        await close();
      }
    };
    const { evaluations, usage } = await explainInterrupt(
      'the same command with --resume goes on',
      play,
    );
    if (!request.json) {
      for (const evaluation of evaluations) console.log(describeVotes(evaluation));
      console.log(`record: ${directory}`);
    }
    return { ...resultsOf(evaluations), ...usage, record: directory };
  },
};

function describeVotes({ name, majority, passAtK }: Evaluation): string {
  const { set } = readEvaluationName(name);
  const passes = Object.entries(passAtK).map(([k, value]) => `pass@${k} ${percent(value)}`);
  const which = set === undefined ? '' : `${set}: `;
  return `${which}majority vote ${percent(majority)}, ${passes.join(', ')}`;
}

/** What `--json` prints: one result, or one by name for each named set. */
function resultsOf(evaluations: readonly Evaluation[]): object {
  const results = evaluations.map((evaluation) => ({
    set: readEvaluationName(evaluation.name).set,
    result: {
      ...resultOf(evaluation),
      failed: evaluation.failed,
      ...(evaluation.coaching && { coaching: evaluation.coaching }),
    },
  }));
  const named = results.flatMap(({ set, result }) => (set === undefined ? [] : [[set, result]]));
  return named.length === 0 ? (results[0]?.result ?? {}) : { sets: Object.fromEntries(named) };
}
