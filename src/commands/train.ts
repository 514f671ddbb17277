import { join, resolve } from 'node:path';
import { loadConfig } from '../config/load-config.ts';
import { describeUsage } from '../methods/coach-metrics.ts';
import { agentNames } from '../rollout/team.ts';
import type { CoachUsage } from '../types/feedback.ts';
import { wireMethod } from '../wire-method.ts';
import { type Command, optional, repeated } from './command.ts';
import { explainInterrupt } from './explain-interrupt.ts';
import { createProgress, duration, percent, screenFor } from './progress.ts';
import { refuseWrongDirectory } from './run-directory.ts';
import { runTraining, type TrainingResult } from './run-training.ts';

export const trainCommand: Command = {
  summary: 'Train a team as a config file says.',
  operands: ['CONFIG'],
  options: {
    set: {
      type: 'string',
      multiple: true,
      help: 'override a key, for example update.learningRate=1e-6',
    },
    output: {
      type: 'string',
      help: 'folder of the run (default: runs/ and the name in the config)',
    },
    checkpoint: {
      type: 'string',
      help: 'folder of a checkpoint to start from (default: the untrained team)',
    },
    resume: { type: 'boolean', help: 'go on with the run in that folder' },
  },
  run: async (request) => {
    const config = await loadConfig(request.operands[0] as string, repeated(request, 'set'));
    const directory = resolve(
      optional(request, 'output') ?? config.output ?? join('runs', config.name),
    );
    const resume = request.values.resume === true;
    refuseWrongDirectory(directory, { resume, what: 'run' });
    const watch = createProgress(screenFor(request.json ? process.stderr : process.stdout), {
      steps: wireMethod(config).steps,
      agents: agentNames(config.team),
    });
    const checkpoint = optional(request, 'checkpoint');
    const start = checkpoint === undefined ? {} : { checkpoint: resolve(checkpoint) };
    const kept = `what was finished is in ${directory}; the same command with --resume goes on`;
    const result = await explainInterrupt(kept, (onInterrupt) =>
      runTraining(config, { directory, resume, ...start, watch, onInterrupt }),
    );
    if (!request.json) console.log(describeResult(result));
    return result;
  },
};

function describeCoach(usage: CoachUsage): string {
  const { inputTokens, outputTokens } = usage;
  const tokens = (count: number) => count.toLocaleString('en');
  return `the coach: ${describeUsage(usage)}, ${tokens(inputTokens)} tokens in, ${tokens(outputTokens)} out`;
}

/** The result as a person reads it. */
export function describeResult(result: TrainingResult): string {
  const lines: string[] = [''];
  const sets = Object.entries(result.sets ?? { team: result });
  for (const [name, { before, after, gain }] of sets) {
    if (!before || !after || !gain) continue;
    const points = (share: number) => (share * 100).toFixed(1);
    lines.push(
      `${name} accuracy  ${percent(before.accuracy)} → ${percent(after.accuracy)}  (${gain.gain < 0 ? '' : '+'}${points(gain.gain)} points, 95 % interval ${points(gain.low)} to ${points(gain.high)}, on ${after.tasks} held-out tasks)`,
    );
  }
  for (const [agent, { firstScore, lastScore }] of Object.entries(result.perAgent)) {
    if (lastScore === undefined) continue;
    const start = firstScore === undefined ? '' : `${firstScore.toFixed(1)} → `;
    lines.push(`  ${agent.padEnd(12)} coach ${start}${lastScore.toFixed(1)} of 10`);
  }
  if (result.coach !== undefined) lines.push(describeCoach(result.coach));
  lines.push(`took ${duration(result.trainSeconds)}; report: ${result.report}`);
  return lines.join('\n');
}
