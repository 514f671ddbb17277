import { join } from 'node:path';
import { restoreCheckpoint } from './checkpoint/restore-checkpoint.ts';
import { restorePoint } from './checkpoint/restore-point.ts';
import { configAsJson } from './config/load-config.ts';
import { heldOutSets, type RunConfig } from './config/schema.ts';
import { createSandbox, limitsOf, type SandboxSettings } from './create-sandbox.ts';
import { BoundaryError, closeAll } from './errors.ts';
import type { HeldOutSet, Method, Training, Watch } from './methods/training.ts';
import { agentNames } from './rollout/team.ts';
import { openRun, type Run } from './run/run-store.ts';
import { openWorkspaces } from './sandbox/workspaces.ts';
import { findOverlap } from './task/find-overlap.ts';
import { sampleTasks } from './task/sample-tasks.ts';
import { loadTokenizer } from './tokenizer/tokenizer.ts';
import { type OpenTools, openTools } from './tools/open-tools.ts';
import type { Task } from './types/task.ts';
import {
  freeCoachingKeys,
  refuseAnotherRubric,
  rubricHashOf,
  unaskedCoach,
  type WiredCoach,
  wireCoach,
} from './wire-coach.ts';
import { freeMethodKeys, wireMethod } from './wire-method.ts';
import { openOwnModels, openReference } from './wire-models.ts';
import { openPolicies, openPublished, savePolicies } from './wire-policies.ts';
import { createService, freeServiceKeys } from './wire-service.ts';
import { settingsOf } from './wire-settings.ts';
import { gradersOf, readTasks } from './wire-tasks.ts';

/** A run with everything alive; `close` ends interpreters, engine and store. */
export type Wired = {
  readonly training: Training;
  /** One training step as the config's method does it. */
  readonly method: Method;
  /** First step to do. */
  readonly from: number;
  /** Saves every agent's weights and optimiser; resolves to the checkpoint's name. */
  readonly checkpoint: (step: number) => Promise<string>;
  readonly close: () => Promise<void>;
};

/** Told what must be let go of where a signal ends the process; what it is told last counts. */
export type OnInterrupt = (letGo: () => Promise<void>) => void;

/**
 * Turns a config into live objects: the only place that chooses implementations.
 *
 * @param options.directory the run's folder; with `resume` one that an interrupted run left
 * @param options.checkpoint a folder with each agent's weights and optimiser to start from; absent = untrained adapters
 * @throws BoundaryError before anything is played when a file, model, tool or key is missing
 */
export async function wire(
  config: RunConfig,
  options: {
    readonly directory: string;
    readonly resume: boolean;
    readonly checkpoint?: string;
    readonly watch: Watch;
    readonly onInterrupt?: OnInterrupt;
  },
): Promise<Wired> {
  refuseLoneSamples(config);
  if (mayUseOutcomes(config)) refuseTables(config);
  if (options.checkpoint !== undefined) await restoreCheckpoint(options.checkpoint);
  const tasks = await readTrainingTasks(config);
  if (mayUseOutcomes(config)) refuseUngradable(tasks, 'tasks.train');
  const heldOut = await readHeldOut(config);
  // With the whole file, too: the next sample of it would be trained on.
  const file = await readTasks(config.tasks, config.tasks.train);
  for (const set of heldOut) warnOfOverlap({ tasks, file }, set, options.watch);
  const coach = (run: Run) => wireRunCoach(config, run, options.watch);
  return wireRun(config, { ...options, tasks, heldOut, coach });
}

function wireRunCoach(config: RunConfig, run: Run, watch: Watch): Promise<WiredCoach> {
  const cacheFile = join(run.directory, 'coach-cache.db');
  return wireCoach(config, { books: run.coachRecords, cacheFile, watch });
}

/**
 * The same for an evaluation alone: no training tasks, and a coach only where the team asks for its verdicts.
 *
 * @param options.checkpoint a folder with each agent's weights; absent = the untrained team
 */
export async function wireEvaluation(
  config: RunConfig,
  options: {
    readonly directory: string;
    readonly resume: boolean;
    readonly checkpoint?: string;
    /** Agents that play as the base does, whatever the checkpoint holds of them. */
    readonly untrained?: readonly string[];
    readonly watch: Watch;
    readonly onInterrupt?: OnInterrupt;
  },
): Promise<Wired> {
  refuseUnknownAgents(config, options.untrained ?? []);
  if (config.tasks.heldOut === undefined) {
    throw new BoundaryError('config', 'tasks.heldOut is missing: there is nothing to evaluate on');
  }
  if (options.checkpoint !== undefined) await restoreCheckpoint(options.checkpoint);
  const heldOut = await readHeldOut(config);
  const coach = (run: Run) => wireAskedCoach(config, run, options.watch);
  return wireRun(config, { ...options, tasks: [], heldOut, coach });
}

/** A coach only where the team asks for its verdicts. */
async function wireAskedCoach(config: RunConfig, run: Run, watch: Watch): Promise<WiredCoach> {
  return config.team.asksCoach ? wireRunCoach(config, run, watch) : unaskedCoach;
}

/**
 * The same for plays that go on from recorded ones, whose tasks the finished run holds.
 *
 * @param options.checkpoint a folder with each agent's weights; absent = the untrained team
 * @param options.branches says which ones, so that a record of them is not gone on with for others
 */
export async function wireBranches(
  config: RunConfig,
  options: {
    readonly directory: string;
    readonly resume: boolean;
    readonly checkpoint?: string;
    readonly branches: Readonly<Record<string, unknown>>;
    readonly watch: Watch;
    readonly onInterrupt?: OnInterrupt;
  },
): Promise<Wired> {
  if (options.checkpoint !== undefined) await restoreCheckpoint(options.checkpoint);
  const coach = (run: Run) => wireAskedCoach(config, run, options.watch);
  return wireRun(config, { ...options, tasks: [], heldOut: [], coach });
}

function refuseUnknownAgents({ team }: RunConfig, agents: readonly string[]): void {
  const names = agentNames(team);
  const unknown = agents.find((agent) => !names.includes(agent));
  if (unknown === undefined) return;
  throw new BoundaryError(
    'config',
    `team ${team.name} has no agent ${unknown} to be left untrained; it has ${names.join(', ')}`,
  );
}

type RunParts = {
  readonly directory: string;
  readonly resume: boolean;
  readonly checkpoint?: string;
  readonly untrained?: readonly string[];
  readonly branches?: Readonly<Record<string, unknown>>;
  readonly watch: Watch;
  readonly onInterrupt?: OnInterrupt;
  readonly tasks: readonly Task[];
  readonly heldOut: readonly HeldOutSet[];
  readonly coach: (run: Run) => Promise<WiredCoach>;
};

async function wireRun(config: RunConfig, parts: RunParts): Promise<Wired> {
  const { directory, resume, watch, tasks, heldOut } = parts;
  const closers: (() => Promise<void> | void)[] = [];
  let isReady = false;
  try {
    const tokenizer = await loadTokenizer(config.model.path);
    const { tools, close: closeTools } = await toolsOf(config);
    closers.unshift(closeTools);
    const run = openRun(directory, { mode: resume ? 'resume' : 'create' });
    // A start that fails, for want of a key or a model, must not leave a run in the folder.
    closers.unshift(() => (isReady || resume ? run.close() : run.discard()));
    refuseAnotherRubric(directory, run.resolvedConfig, config);
    run.setConfig(storedConfig(config, parts), {
      mayDiffer: [...freeServiceKeys, ...freeCoachingKeys, ...freeMethodKeys],
    });
    // Before the model, which takes longer to load than a missing key to be found.
    const { coach, close } = await parts.coach(run);
    closers.unshift(close);
    const service = await createService(config, tokenizer, watch.note);
    closers.unshift(service.close);
    const { abandon } = service;
    if (abandon) {
      parts.onInterrupt?.(async () => {
        // What still goes on in this process must not be recorded as if nothing had been let go of.
        run.close();
        await abandon();
      });
    }
    const workspaces = openWorkspaces(
      join(directory, 'workspaces'),
      limitsOf(config.rollout.sandbox, sandboxSettings(config)),
    );
    closers.unshift(workspaces.close);
    const restored = resume ? await restorePoint(run, watch.note) : undefined;
    const folder = restored?.directory ?? parts.checkpoint;
    const willClose = (close: () => Promise<void>) => void closers.unshift(close);
    const own = await openOwnModels(config, { willClose, note: watch.note });
    const serviceOf = (agent: string) => own?.get(agent)?.service ?? service;
    const reference = await openReference(service, config);
    const { checkpoint: start } = parts;
    const publishedAfter = (step: number) =>
      openPublished(serviceOf, config, { directory, step, ...(start && { start }) });
    const policies = new Map(await openPolicies(serviceOf, config, folder));
    for (const agent of parts.untrained ?? [])
      policies.set(agent, own?.get(agent)?.reference ?? reference);
    const training: Training = {
      ...(own && { ownModels: own }),
      ...{ run, team: config.team, service, tokenizer, tools, workspaces, policies, reference },
      ...{ coach, publishedAfter },
      ...{ ...gradersOf(config), tasks, heldOut, settings: settingsOf(config), watch },
    };
    isReady = true;
    const { keepCheckpoints } = config.training;
    const configHash = run.configHash ?? '';
    const checkpoint = (step: number) =>
      savePolicies(policies, { directory, step, keep: keepCheckpoints, configHash });
    return {
      training,
      method: wireMethod(config).method,
      from: (restored?.step ?? 0) + 1,
      checkpoint,
      close: () => closeAll(closers),
    };
  } catch (error) {
    // Why there is no start is what is told.
    await Promise.allSettled([closeAll(closers)]);
    throw error;
  }
}

/** What a resume must give again. */
function storedConfig(config: RunConfig, parts: RunParts) {
  const { tasks, heldOut, checkpoint, untrained, branches } = parts;
  return {
    ...configAsJson(config, { tasks, heldOut }),
    coaching: { ...config.coaching, ...rubricHashOf(config) },
    ...(checkpoint !== undefined && { checkpoint }),
    ...(untrained && { untrained }),
    ...(branches && { branches }),
  };
}

/** The training tasks, or the sample of them that the config asks for, in the order of the file. */
export async function readTrainingTasks({ tasks }: RunConfig): Promise<readonly Task[]> {
  const all = await readTasks(tasks, tasks.train);
  return tasks.sample === undefined ? all : sampleTasks(all, tasks.sample);
}

/** The tasks that are only evaluated on, by set. */
export async function readHeldOut({ tasks }: RunConfig): Promise<readonly HeldOutSet[]> {
  const sets = tasks.heldOut === undefined ? [] : heldOutSets(tasks.heldOut);
  const read = sets.map(async ({ name, source }) => {
    const heldOut = await readTasks(tasks, source);
    refuseUngradable(heldOut, name === undefined ? 'tasks.heldOut' : `tasks.heldOut.${name}`);
    return { ...(name === undefined ? {} : { name }), tasks: heldOut };
  });
  return Promise.all(read);
}

/** Whether rewards are made of grades, or may become that when the coach's budget is spent. */
function mayUseOutcomes({ credit, coaching, method }: RunConfig): boolean {
  if (method.kind === 'maporl' && (method.verifier === 'grade' || isIncentivised(method)))
    return true;
  if (method.kind === 'malt') return method.judge === 'outcome';
  const { calls, usd, whenSpent } = coaching.budget;
  const isLimited = calls !== undefined || usd !== undefined;
  const isOutcome = method.kind === 'mappa' && credit.source === 'outcome';
  return isOutcome || (isLimited && whenSpent === 'outcome');
}

function isIncentivised({ incentives }: Extract<RunConfig['method'], { kind: 'maporl' }>): boolean {
  return Object.values(incentives).some((bonus) => bonus > 0);
}

/** Tables are graded by the files that a play leaves: what single actions of it are worth, they do not tell. */
function refuseTables({ tasks: { kind }, method }: RunConfig): void {
  if (kind !== 'dsbench' || method.kind === 'mappa') return;
  const judged =
    method.kind === 'malt'
      ? 'method.judge=coach'
      : 'method.verifier=coach, incentives of 0 and coaching.budget.whenSpent=pause';
  throw new BoundaryError(
    'config',
    `method ${method.kind} would reward answers with their grades, and plays of tasks.kind dsbench are graded by the files that they leave; set ${judged}, or take method mappa`,
  );
}

/** A play that is compared with the others of its task, and has none, earns nothing: such a run would teach nobody. */
function refuseLoneSamples({ credit, method, rollout }: RunConfig): void {
  const isUsed = method.kind === 'mappa' || (method.kind === 'maporl' && method.critic === false);
  const isOfGroup = ['rloo', 'grpo', 'reinforce-baseline'].includes(credit.estimator);
  if (!isUsed || !isOfGroup || rollout.samplesPerTask > 1) return;
  throw new BoundaryError(
    'config',
    `credit.estimator is ${credit.estimator}, which compares the plays of one task, and rollout.samplesPerTask is 1; set it to 2 or more, or take another estimator`,
  );
}

/** What has no answer cannot be graded, and must not count as wrong. */
function refuseUngradable(tasks: readonly Task[], key: string): void {
  const ungradable = tasks.filter(({ answer, table }) => answer === undefined && !table);
  const [first] = ungradable;
  if (first === undefined) return;
  throw new BoundaryError(
    'task',
    `${key}: ${ungradable.length} of ${tasks.length} tasks have no answer to grade against, the first is ${first.id}; give every task an \`answer\`, or leave these out`,
  );
}

function warnOfOverlap(
  train: { readonly tasks: readonly Task[]; readonly file: readonly Task[] },
  { name, tasks: heldOut }: HeldOutSet,
  watch: Watch,
) {
  const overlap = findOverlap(train.file, heldOut);
  if (overlap.length === 0) return;
  const trained = findOverlap(train.tasks, heldOut).length;
  const drawn = train.tasks.length < train.file.length ? `, ${trained} of them in the sample` : '';
  const named = overlap.slice(0, 3).map(({ trainId, heldOutId }) => `${heldOutId} = ${trainId}`);
  const set = name === undefined ? '' : ` of ${name}`;
  watch.note(
    `warning: ${overlap.length} of ${heldOut.length} held-out tasks${set} are also training tasks${drawn} (${named.join(', ')}${overlap.length > 3 ? ', …' : ''}): their accuracy does not show generalisation`,
  );
}

function sandboxSettings({ rollout }: RunConfig): SandboxSettings {
  const timeLimitMs = Math.ceil(rollout.toolTimeoutSeconds * 1000);
  return { timeLimitMs, workers: rollout.toolWorkers };
}

/** Alive and checked: what is missing is refused before anything is played. */
function toolsOf(config: RunConfig): Promise<OpenTools> {
  const { team, rollout, tools = [] } = config;
  const wanted = new Set(agentNames(team).flatMap((name) => team.agents[name]?.tools ?? []));
  return openTools(wanted, tools, () => createSandbox(rollout.sandbox, sandboxSettings(config)));
}
