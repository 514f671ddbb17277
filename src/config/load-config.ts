import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BoundaryError, messageWithPlace } from '../errors.ts';
import { agentNames } from '../rollout/team.ts';
import { hashOf } from '../run/configuration.ts';
import type { Task } from '../types/task.ts';
import { asksCoach, isCoached } from './asks-coach.ts';
import { explainIssue } from './explain-issue.ts';
import {
  coachExpectation,
  type HeldOutChoice,
  heldOutSets,
  type RunConfig,
  type RunInput,
  runSchema,
} from './schema.ts';

/** An interpreter may also be named as a command, without a slash. */
const interpreterKey = 'rollout.sandbox.python';
/** One of our rubrics may also be named, by a word without a dot or a slash. */
const rubricKey = 'coaching.rubric';
const pathKeys = [
  ...['model.path', 'tasks.train', 'tasks.heldOut', 'tasks.tables', 'output', interpreterKey],
  ...[rubricKey, 'coaching.cache'],
];
/** Its entries are paths too, one for each named set. */
const setsKey = 'tasks.heldOut';
/** Its entries, too, one for each agent with a model of its own. */
const modelsKey = 'model.agents';
const budgetKey = 'coaching.budget';

function resolvePath(key: string, directory: string, value: string): string {
  const isName =
    (key === interpreterKey && !value.includes('/')) ||
    (key === rubricKey && /^[\w-]+$/.test(value));
  return isName ? value : resolve(directory, value);
}

/**
 * Reads a config file, applies `key.path=value` overrides and checks everything at once.
 * Relative paths in the file count from the file's folder, in overrides from the working directory.
 *
 * @throws BoundaryError("config") naming the key, what was expected and what came
 */
export async function loadConfig(
  file: string,
  overrides: readonly string[] = [],
): Promise<RunConfig> {
  const path = resolve(file);
  const input = await importConfig(path);
  return resolveConfig(input, { directory: dirname(path), where: file, overrides });
}

/** The same for a config that is already an object. */
export function resolveConfig(
  input: RunInput,
  options: {
    readonly directory: string;
    readonly where: string;
    readonly overrides?: readonly string[];
  },
): RunConfig {
  const rooted = resolvePaths(structuredInput(input), options.directory);
  const complete = (options.overrides ?? []).reduce(applyOverride, rooted);
  const parsed = runSchema.safeParse(complete);
  if (parsed.success) return withVariant(parsed.data, options.where);
  const problems = parsed.error.issues.map((issue) => explainIssue(issue, complete));
  throw new BoundaryError('config', `${options.where}: ${problems.join('; ')}`);
}

/** The config with the team's variant in the team's place, its agents' names checked. */
function withVariant(config: RunConfig, where: string): RunConfig {
  const { team, variant } = config;
  const variants = team.variants ?? {};
  const chosen = Object.hasOwn(variants, variant ?? '') ? variants[variant ?? ''] : undefined;
  if (variant !== undefined && chosen === undefined) {
    const names = Object.keys(variants);
    const known = names.length === 0 ? 'it has none' : `there is ${names.join(', ')}`;
    throw new BoundaryError(
      'config',
      `${where}: variant: expected a variant of team ${team.name} (${known}), got "${variant}"`,
    );
  }
  const playing = { ...config, team: chosen ?? team };
  // A name of the whole team stays right in a variant that leaves its agent out.
  checkAgents(playing, [...agentNames(playing.team), ...agentNames(team)], where);
  checkStaleness(playing, where);
  checkTrees(playing, where);
  if (playing.coach === 'none' && asksCoach(playing)) {
    const who = isCoached(playing) ? '' : `, whom team ${playing.team.name} asks while it plays`;
    throw new BoundaryError(
      'config',
      `${where}: coach: ${coachExpectation}${who}, but it is missing`,
    );
  }
  return playing;
}

/** Keys that name agents must name some of `known`, and leave something to train. */
function checkAgents(config: RunConfig, known: readonly string[], where: string): void {
  const { team, training, coaching, adapter, method } = config;
  const shown = Array.isArray(coaching.showAnswer) ? coaching.showAnswer : [];
  const { frozen = [] } = training;
  const ownModels = Object.keys(config.model.agents ?? {});
  const named = {
    'training.frozen': frozen,
    'coaching.showAnswer': shown,
    'method.payoffs': payoffNames(config),
    'model.agents': ownModels,
    'method.dpo.agents': method.kind === 'malt' ? (method.dpo.agents ?? []) : [],
  };
  const fault = (message: string) => new BoundaryError('config', `${where}: ${message}`);
  for (const [key, names] of Object.entries(named)) {
    const unknown = names.find((name) => !known.includes(name));
    if (unknown === undefined) continue;
    const agents = [...new Set(known)].join(', ');
    throw fault(`${key}: expected agents of team ${team.name} (${agents}), got "${unknown}"`);
  }
  if (agentNames(team).every((agent) => frozen.includes(agent))) {
    throw fault(
      'training.frozen names every agent, so nothing is trained; use `teamtune evaluate`',
    );
  }
  if (adapter.shared && ownModels.length > 0) {
    throw fault(
      'model.agents names agents with models of their own, which cannot share an adapter; set adapter.shared=false',
    );
  }
  if (!adapter.shared || frozen.length === 0) return;
  throw fault(
    'training.frozen cannot hold still one agent of a shared adapter; set adapter.shared=false or leave training.frozen empty',
  );
}

/** Plays that are collected ahead need what would sample them after an interruption, and a reward that is known by then. */
function checkStaleness({ rollout, method, training, coaching }: RunConfig, where: string): void {
  const { maxStalenessSteps } = rollout;
  if (maxStalenessSteps === 0) return;
  const fault = (message: string) =>
    new BoundaryError(
      'config',
      `${where}: rollout.maxStalenessSteps is ${maxStalenessSteps}, ${message}`,
    );
  if (method.kind === 'malt') {
    throw fault('but malt grows its trees with the team as it is; set it to 0');
  }
  const { calls, usd, whenSpent } = coaching.budget;
  if (whenSpent === 'outcome' && (calls !== undefined || usd !== undefined)) {
    throw fault(
      'and where a budget ends amid the plays of two steps is up to the clock; set coaching.budget.whenSpent=pause, or set it to 0',
    );
  }
  if (training.keepCheckpoints >= maxStalenessSteps + 2) return;
  throw fault(
    `so a resumed run may need the last ${maxStalenessSteps + 2} checkpoints; set training.keepCheckpoints to as many, it is ${training.keepCheckpoints}`,
  );
}

/** Trees are grown without the coach's words, and a coach of leaves judges a play's last action. */
function checkTrees({ method, team, coaching }: RunConfig, where: string): void {
  if (method.kind !== 'malt') return;
  if (team.asksCoach === true) {
    throw new BoundaryError(
      'config',
      `${where}: method: malt grows its trees without a coach’s verdicts, and team ${team.name} rests on them (asksCoach); take another method, or a team or variant that does not ask`,
    );
  }
  if (method.judge !== 'coach') return;
  const { calls, usd, whenSpent } = coaching.budget;
  if (whenSpent === 'outcome' && (calls !== undefined || usd !== undefined)) {
    throw new BoundaryError(
      'config',
      `${where}: coaching.budget.whenSpent: expected pause, as leaves that malt’s coach has judged cannot be compared with graded ones, got "outcome"`,
    );
  }
  if (coaching.showOutcome !== 'play') return;
  throw new BoundaryError(
    'config',
    `${where}: coaching.showOutcome: expected true or false, as malt’s coach judges the last action of a play, after which nothing is said, got "play"`,
  );
}

function payoffNames({ method }: RunConfig): string[] {
  if (method.kind !== 'maporl') return [];
  return Object.entries(method.payoffs ?? {}).flatMap(([agent, weights]) => {
    return [agent, ...Object.keys(weights)];
  });
}

async function importConfig(path: string): Promise<RunInput> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) {
      const message = `expected a config file, and ${path} is a folder; pass the path of a teamtune.config.ts`;
      throw new BoundaryError('config', message);
    }
  } catch (cause) {
    if (cause instanceof BoundaryError) throw cause;
    const message = `there is no config file at ${path}; pass the path of a teamtune.config.ts${hintFor(path)}`;
    throw new BoundaryError('config', message, { cause });
  }
  try {
    const loaded: { default?: unknown } = await import(pathToFileURL(path).href);
    if (typeof loaded.default === 'object' && loaded.default !== null) {
      return loaded.default as RunInput;
    }
  } catch (cause) {
    const advice = isUnlinked(cause)
      ? "; keep it in a folder of teamtune's repository, or run npm install PATH_OF_THE_REPOSITORY beside it"
      : '';
    throw new BoundaryError(
      'config',
      `${path} could not be loaded: ${messageWithPlace(cause)}${advice}`,
      { cause },
    );
  }
  throw new BoundaryError('config', `${path} must have \`export default defineRun({ … })\``);
}

/** The config imports `teamtune` where Node does not find it. */
function isUnlinked(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("Cannot find package 'teamtune'");
}

/** npm runs a script in the folder of the package.json, wherever it was called. */
function hintFor(path: string): string {
  const called = process.env.INIT_CWD;
  if (called === undefined || called === process.cwd()) return '';
  const meant = resolve(called, relative(process.cwd(), path));
  return existsSync(meant)
    ? ` (npm runs commands in ${process.cwd()}: did you mean ${relative(process.cwd(), meant)}?)`
    : '';
}

type Tree = { [key: string]: unknown };

/** Plain objects are copied so that overrides never write into the user's module; anything else is kept as it is. */
function structuredInput(value: RunInput): Tree {
  return copyTree(value as Tree, 3);
}

function copyTree(tree: Tree, depth: number): Tree {
  const entries = Object.entries(tree).map(([key, value]) =>
    depth > 1 && isPlain(value) ? [key, copyTree(value, depth - 1)] : [key, value],
  );
  return Object.fromEntries(entries);
}

function isPlain(value: unknown): value is Tree {
  return (
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  );
}

function resolvePaths(tree: Tree, directory: string): Tree {
  for (const key of pathKeys) {
    const [holder, last] = holderOf(tree, key);
    const value = holder?.[last];
    if (holder && typeof value === 'string') holder[last] = resolvePath(key, directory, value);
  }
  if (typeof tree.coach === 'string') tree.coach = resolvedCoach(tree.coach, directory);
  for (const key of [setsKey, modelsKey]) {
    const [holder, last] = holderOf(tree, key);
    const named = holder?.[last];
    if (!isPlain(named)) continue;
    for (const [name, source] of Object.entries(named)) {
      if (typeof source === 'string') named[name] = resolve(directory, source);
    }
  }
  return tree;
}

/** A coach that is a folder, of a model or of a trained verifier, is a path, too. */
function resolvedCoach(coach: string, directory = ''): string {
  const [, kind, path] = /^(local|verifier)\/(.+)$/s.exec(coach) ?? [];
  return path === undefined ? coach : `${kind}/${resolve(directory, path)}`;
}

function holderOf(tree: Tree, key: string): [Tree | undefined, string] {
  const parts = key.split('.');
  const last = parts.pop() as string;
  let holder: unknown = tree;
  for (const part of parts) holder = isPlain(holder) ? holder[part] : undefined;
  return [isPlain(holder) ? holder : undefined, last];
}

function applyOverride(tree: Tree, override: string): Tree {
  const split = override.indexOf('=');
  if (split < 1) {
    throw new BoundaryError('config', `--set ${override}: expected key.path=value`);
  }
  const key = override.slice(0, split);
  const text = override.slice(split + 1);
  const section = key.split('.')[0] as string;
  const copy = { ...tree };
  if (key.includes('.')) copy[section] = isPlain(tree[section]) ? copyTree(tree[section], 2) : {};
  if (key.startsWith(`${budgetKey}.`)) copy[section] = withBudget(copy[section] as Tree);
  if (key.startsWith('method.')) copy.method = openedMethod(tree.method, key.split('.'));
  const [holder, last] = holderOf(copy, key);
  if (!holder) throw new BoundaryError('config', `--set ${key}: no such key`);
  const isPath = isPathKey(key) && text !== 'false';
  holder[last] = isPath ? resolvePath(key, '.', text) : parseValue(text);
  if (key === 'coach') holder[last] = resolvedCoach(text);
  return copy;
}

/** A budget may be set key by key on a config that has none. */
function withBudget(coaching: Tree): Tree {
  return { ...coaching, budget: isPlain(coaching.budget) ? { ...coaching.budget } : {} };
}

/** Options may be set on a method that is only named, and in a group of them that the config leaves out. */
function openedMethod(method: unknown, [, group = '', inner]: readonly string[]): Tree {
  const options = isPlain(method) ? copyTree(method, 2) : { kind: method ?? 'mappa' };
  if (inner === undefined) return options;
  return { ...options, [group]: isPlain(options[group]) ? options[group] : {} };
}

function isPathKey(key: string): boolean {
  const isNamed = [setsKey, modelsKey].some((named) => key.startsWith(`${named}.`));
  return pathKeys.includes(key) || isNamed;
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: a bare word such as `outcome` is itself the value.
    return text;
  }
}

/** Tasks as they were read. */
type ReadTasks = {
  readonly tasks: readonly Task[];
  readonly heldOut: readonly { readonly name?: string; readonly tasks: readonly Task[] }[];
};

/**
 * The resolved config as plain JSON, as it is stored with the run.
 *
 * @param read adds the hash of every task set: a file keeps its name when its tasks change
 */
export function configAsJson(config: RunConfig, read?: ReadTasks): Record<string, unknown> {
  const { team, coach, tasks, tools, ...rest } = config;
  return {
    ...rest,
    ...(tools === undefined ? {} : { tools: tools.map(({ name }) => name) }),
    team: { name: team.name, agents: team.agents, order: agentNames(team) },
    coach: coachName(coach),
    tasks: { ...tasks, train: sourceName(tasks.train), ...heldOutNames(tasks.heldOut) },
    ...(read === undefined ? {} : { taskHashes: hashesOf(read) }),
  };
}

function hashesOf({ tasks, heldOut }: ReadTasks): Record<string, string> {
  const sets = heldOut.map(({ name, tasks: own }) => {
    return [name === undefined ? 'heldOut' : `heldOut.${name}`, hashOf(own)] as const;
  });
  return { train: hashOf(tasks), ...Object.fromEntries(sets) };
}

function sourceName(source: string | readonly unknown[]): string {
  return typeof source === 'string' ? source : `${source.length} tasks given in code`;
}

function heldOutNames(choice: HeldOutChoice | undefined): { readonly heldOut?: unknown } {
  if (choice === undefined) return {};
  const sets = heldOutSets(choice).map(({ name, source }) => [name, sourceName(source)] as const);
  const [only] = sets;
  return { heldOut: only?.[0] === undefined ? only?.[1] : Object.fromEntries(sets) };
}

/** The name under which a run keeps its coach. */
export function coachName(coach: RunConfig['coach']): string {
  if (typeof coach === 'string') return coach;
  if ('modelId' in coach) return coach.modelId;
  return coach.name || 'a function';
}
