import { join, resolve } from 'node:path';
import { listCheckpoints } from '../checkpoint/checkpoint-directory.ts';
import { configAsJson, loadConfig } from '../config/load-config.ts';
import type { RunConfig } from '../config/schema.ts';
import { BoundaryError } from '../errors.ts';
import { playBranches } from '../methods/branch.ts';
import {
  type BranchAgreement,
  type BranchedAction,
  branchAgreementOf,
  worstDisagreements,
} from '../methods/branch-agreement.ts';
import { type ChosenBranches, chooseBranches } from '../methods/choose-branches.ts';
import type { Obstacle } from '../methods/rebuild-plays.ts';
import { agentNames } from '../rollout/team.ts';
import { firstDifference, hashOf, without } from '../run/configuration.ts';
import { replaceFile } from '../run/replace-file.ts';
import { openRun, type Run } from '../run/run-store.ts';
import { type OnInterrupt, wireBranches } from '../wiring.ts';
import { type Command, integer, optional, type Request, repeated } from './command.ts';
import { explainInterrupt } from './explain-interrupt.ts';
import { createProgress, screenFor } from './progress.ts';
import { refuseWrongDirectory } from './run-directory.ts';
import { shownEstimate, table } from './table.ts';

const defaults = { sample: 50, leaves: 8 };
const shownDisagreements = 5;
const shownObstacles = 5;

export const branchCommand: Command = {
  summary: 'Play on from actions of a finished run, and compare the coach’s scores with the ends.',
  operands: ['RUN', 'CONFIG'],
  options: {
    step: { type: 'string', help: 'whose actions (default: latest, the last one with scores)' },
    sample: { type: 'string', help: `branch from so many actions (default: ${defaults.sample})` },
    leaves: { type: 'string', help: `plays from each state (default: ${defaults.leaves})` },
    as: { type: 'string', help: 'label of second verdicts to check (default: the run’s own)' },
    set: { type: 'string', multiple: true, help: 'override a key, as when the run was trained' },
    output: { type: 'string', help: 'folder of the record (default: RUN-branches)' },
    resume: { type: 'boolean', help: 'go on with the record in that folder' },
  },
  run: async (request) => {
    const [runFolder = '', configPath = ''] = request.operands;
    const directory = resolve(runFolder);
    const config = await loadConfig(configPath, repeated(request, 'set'));
    const source = openRun(directory, { mode: 'read' });
    try {
      refuseOtherPlays(source, config);
      const result = await branchFrom(source, config, request);
      if (!request.json) console.log(describe(result));
      return result;
    } finally {
      source.close();
    }
  },
};

type BranchResult = {
  readonly run: string;
  readonly step: number;
  readonly policies: PlayingPolicies;
  readonly leaves: number;
  readonly scored: number;
  readonly ungraded: number;
  /** Drawn actions whose plays' files could not be made again, and what was in the way. */
  readonly unreplayable: number;
  readonly obstacles: readonly Obstacle[];
  /** Over both states of every action, each state once. */
  readonly failed: number;
  readonly agents: Readonly<Record<string, BranchAgreement>>;
  readonly worst: readonly BranchedAction[];
  readonly record: string;
};

/** After which step the policies are that play on, and those that played the step; 0 = as the run began. */
type PlayingPolicies = { readonly after: number; readonly played: number };

async function branchFrom(source: Run, config: RunConfig, request: Request): Promise<BranchResult> {
  const sample = integer(request, 'sample', 1) ?? defaults.sample;
  const leaves = integer(request, 'leaves', 2) ?? defaults.leaves;
  const label = optional(request, 'as');
  refuseUnknownLabel(source, label);
  const step = stepOf(source, request, label);
  const choice = { step, sample, ...(label === undefined ? {} : { label }) };
  const chosen = chooseBranches(source, choice);
  const { checkpoint, ...policies } = policiesOf(source, step);
  const record = resolve(optional(request, 'output') ?? `${source.directory}-branches`);
  const resume = request.values.resume === true;
  refuseWrongDirectory(record, { resume, what: 'record' });
  const watch = createProgress(screenFor(request.json ? process.stderr : process.stdout), {
    steps: 0,
    agents: agentNames(config.team),
  });
  const verdicts = chosen.candidates.map(({ action, verdict }) => [action.id, verdict.score]);
  const play = async (onInterrupt: OnInterrupt) => {
    const { training, close } = await wireBranches(config, {
      ...{ directory: record, resume, watch, onInterrupt },
      ...(checkpoint === undefined ? {} : { checkpoint }),
      branches: { run: source.directory, ...choice, leaves, verdicts: hashOf(verdicts) },
    });
    try {
      const played = await playBranches(training, source, chosen, { step, leaves });
      return { ...played, counts: countsOf(chosen, training.run, step) };
    } finally {
      await close();
    }
  };
  const hint = 'the same command with --resume goes on';
  const { actions, obstacles, counts } = await explainInterrupt(hint, play);
  replaceFile(
    join(record, 'branches.jsonl'),
    actions.map((one) => `${JSON.stringify(one)}\n`),
  );
  return {
    ...{ run: source.directory, step, policies, leaves, ...counts, obstacles },
    unreplayable: obstacles.reduce((sum, one) => sum + one.actions, 0),
    agents: branchAgreementOf(actions, agentNames(config.team)),
    worst: worstDisagreements(actions, shownDisagreements),
    record,
  };
}

function countsOf({ scored, ungraded }: ChosenBranches, record: Run, step: number) {
  const ended = record.trajectoriesOf(`branch:${step}`);
  return { scored, ungraded, failed: ended.filter(({ failure }) => failure).length };
}

/** What decides how a play goes on; the rest of a config may differ from the run's. */
const freeKeys = [
  ...['rollout.tasksPerStep', 'rollout.samplesPerTask', 'rollout.maxStalenessSteps'],
  ...['rollout.concurrency', 'rollout.toolWorkers', 'rollout.failedShareLimit'],
  ...['rollout.playTimeoutSeconds', 'model.threads', 'model.maxRows', 'model.device'],
  ...['model.microBatchTokens', 'model.gradientCheckpointing'],
  'model.decodeGraphs',
];

function refuseOtherPlays(source: Run, config: RunConfig): void {
  const playKeysOf = (stored: unknown) => {
    const { team, model, adapter, rollout } = stored as Readonly<Record<string, unknown>>;
    return without({ team, model, adapter, rollout }, freeKeys);
  };
  const difference = firstDifference(
    playKeysOf(source.resolvedConfig ?? {}),
    playKeysOf(configAsJson(config)),
  );
  if (difference === undefined) return;
  throw new BoundaryError(
    'config',
    `${source.directory} was played with another configuration (${difference}): give the run’s own config, with the same --set`,
  );
}

function refuseUnknownLabel(source: Run, label: string | undefined): void {
  const known = source.rescores.labels();
  if (label === undefined || known.includes(label)) return;
  throw new BoundaryError(
    'config',
    `--as: ${source.directory} has no second verdicts of "${label}" (${known.length === 0 ? 'it has none at all' : `there is ${known.join(', ')}`})`,
  );
}

/** The step that is asked for, or the last completed one that has a score. */
function stepOf(source: Run, request: Request, label: string | undefined): number {
  const steps = source.completedSteps().map(({ step }) => step);
  const asked = optional(request, 'step') ?? 'latest';
  if (asked !== 'latest') {
    const step = integer(request, 'step', 1) as number;
    if (steps.includes(step)) return step;
    throw new BoundaryError(
      'config',
      `--step: ${source.directory} has not completed step ${step}; it has ${steps.length === 0 ? 'completed none' : `completed steps up to ${steps.at(-1)}`}`,
    );
  }
  const isScored = (step: number) => {
    const verdicts = label ? source.rescores.secondOf(label, step) : source.feedbackOf(step);
    return [...verdicts.values()].some(({ kind }) => kind === 'scored');
  };
  const latest = steps.findLast(isScored);
  if (latest !== undefined) return latest;
  throw new BoundaryError(
    'run',
    `${source.directory} has no completed step with a scored action: there is no score to check; have its actions scored by \`rescore\`, and name the label with --as`,
  );
}

/** The checkpoint that played the step, or else the nearest one there is; none where untrained policies did. */
function policiesOf(source: Run, step: number): PlayingPolicies & { readonly checkpoint?: string } {
  const staleness = source.metrics().find((one) => one.step === step)?.metrics.staleness ?? 0;
  const played = Math.max(0, step - 1 - staleness);
  const { checkpoint: start } = source.resolvedConfig as { readonly checkpoint?: string };
  if (played === 0) return { after: 0, played, ...(start !== undefined && { checkpoint: start }) };
  const distance = (after: number) => Math.abs(after - played);
  const [checkpoint] = listCheckpoints(source.directory).toSorted(
    (one, other) => distance(one.step) - distance(other.step),
  );
  if (checkpoint !== undefined) {
    return { after: checkpoint.step, played, checkpoint: checkpoint.directory };
  }
  throw new BoundaryError(
    'checkpoint',
    `${source.directory} has no checkpoint left, and the policies that played step ${step} were trained: nobody can play on from it`,
  );
}

function describe(result: BranchResult): string {
  const { step, leaves, scored, ungraded, failed, agents, worst, record } = result;
  const columns = [
    ...['agent', 'actions', 'score', 'value', 'correlation', 'rank corr.', 'reliability'],
    ...['effect', 'corr. with effect'],
  ];
  const rows = Object.entries(agents).map(([agent, own]) => [
    ...[agent, String(own.actions), shownEstimate(own.score, 1), shownEstimate(own.value)],
    ...[shownEstimate(own.correlation), shownEstimate(own.rankCorrelation)],
    ...[own.reliability?.toFixed(2) ?? '–', shownEstimate(own.effect)],
    shownEstimate(own.effectCorrelation),
  ]);
  const actions = Object.values(agents).reduce((sum, own) => sum + own.actions, 0);
  const unvalued = Object.values(agents).reduce((sum, own) => sum + own.unvalued, 0);
  return [
    `${actions} of ${scored} scored actions of step ${step}, played on ${leaves} times from before and from after each`,
    describePolicies(result),
    ...table([columns, ...rows]),
    'value: share of right answers after the action; effect: that, less the share before it. 95 % intervals in brackets, by bootstrap over tasks; – where it does not exist',
    `a value is itself an estimate from ${leaves} leaves (of a play’s last action it is the play’s own grade): perfect scores would correlate with it by the root of the reliability`,
    ...(ungraded === 0 ? [] : [`${ungraded} scored actions left out: their tasks have no answer`]),
    ...describeObstacles(result),
    ...(failed === 0 ? [] : [`${failed} leaves failed and count for nothing`]),
    ...(unvalued === 0
      ? []
      : [`${unvalued} actions have no value: none of their leaves was graded`]),
    worst.length === 0 ? 'no score is apart from its value' : 'farthest apart:',
    ...worst.map(describeDisagreement),
    `record: ${record}`,
  ].join('\n');
}

function describePolicies({ policies: { after, played }, step }: BranchResult): string {
  const named = (at: number) =>
    at === 0 ? 'the policies as the run began' : `the policies as step ${at} left them`;
  return after === played
    ? `${named(after)} play on, which played step ${step}`
    : `${named(after)} play on: ${named(played)}, which played step ${step}, are not kept (training.keepCheckpoints)`;
}

function describeObstacles({ unreplayable, obstacles }: BranchResult): string[] {
  if (unreplayable === 0) return [];
  const most = obstacles.toSorted((one, other) => other.actions - one.actions);
  const rest = most.slice(shownObstacles).reduce((sum, { actions }) => sum + actions, 0);
  return [
    `${unreplayable} drawn actions left out: they need files of their plays that could not be made again`,
    ...most
      .slice(0, shownObstacles)
      .map(({ actionId, reason, actions }) => `  ${actions} by ${actionId}: ${reason}`),
    ...(rest === 0 ? [] : [`  ${rest} by others`]),
  ];
}

function describeDisagreement(action: BranchedAction): string {
  const words = action.reason.replace(/\s+/g, ' ').trim();
  const said = words.length > 100 ? `${words.slice(0, 99)}…` : words;
  const what = `  ${action.actionId}: score ${action.score}, ${describeValue(action)}`;
  return said === '' ? what : `${what}: ${said}`;
}

function describeValue({ isLast, after: { right, graded, value, low, high } }: BranchedAction) {
  if (value === undefined || low === undefined || high === undefined) return 'no value';
  if (isLast) return `and its play ended ${value === 1 ? 'right' : 'wrong'}`;
  return `value ${shownEstimate({ value, low, high })} (${right} of ${graded} right)`;
}
