import { readFileSync } from 'node:fs';
import { checkOwnCoach } from './coach/check-own-coach.ts';
import { countCalls } from './coach/count-calls.ts';
import { createFunctionCoach } from './coach/function-coach.ts';
import { hideAnswer } from './coach/hide-answer.ts';
import { type Books, Ledger } from './coach/ledger.ts';
import { createLlmCoach, nameOfModel } from './coach/llm-coach.ts';
import { loadLocalModel } from './coach/local-model.ts';
import { priceOf } from './coach/prices.ts';
import type { AgentBrief } from './coach/render-request.ts';
import type { ModelObject } from './coach/resolve-model.ts';
import { openTrainedVerifier } from './coach/trained-verifier.ts';
import { openVerdictCache } from './coach/verdict-cache.ts';
import { asksCoach } from './config/asks-coach.ts';
import type { CoachChoice, RunConfig } from './config/schema.ts';
import { BoundaryError, messageOf } from './errors.ts';
import type { Watch } from './methods/training.ts';
import { agentNames, type Team } from './rollout/team.ts';
import { hashOf, without } from './run/configuration.ts';
import type { Coach } from './types/feedback.ts';

/** A coach with what must be closed after it. */
export type WiredCoach = { readonly coach: Coach; readonly close: () => Promise<void> };

export type CoachSurroundings = {
  readonly books: Books;
  /** Where verdicts are kept when the config names no file; absent = nowhere. */
  readonly cacheFile?: string;
  readonly watch: Watch;
};

/** Keys of coaching that a resumed run may change: none changes a verdict, but for the rubric, which is told by its text. */
export const freeCoachingKeys = [
  ...['coaching.rubric', 'coaching.rubricHash'],
  ...['coaching.budget', 'coaching.prices', 'coaching.cache', 'coaching.concurrency'],
  ...['coaching.timeoutSeconds', 'coaching.maxAttempts', 'coaching.outageSeconds'],
  'coaching.unscoredShareLimit',
];

/** What of coaching can change a verdict. */
export function verdictKeysOf(config: RunConfig): Readonly<Record<string, unknown>> {
  const keys = without(config.coaching, freeCoachingKeys, 'coaching') as Record<string, unknown>;
  return { ...keys, ...rubricHashOf(config) };
}

/** SHA-256 of the rubric's text: a file keeps its name when it is edited. Nothing where no rubric is used. */
export function rubricHashOf(config: RunConfig): { readonly rubricHash?: string } {
  const { coach, coaching } = config;
  if (!asksCoach(config) || coach === undefined || isOwnCoach(coach)) return {};
  return { rubricHash: hashOf(readRubric(coaching.rubric)) };
}

/**
 * A run is judged by one rubric from its start to its end.
 *
 * @param stored the run's config so far, and `now` the one it is to go on with
 * @throws BoundaryError("config") when the rubric's text is another one
 */
export function refuseAnotherRubric(directory: string, stored: unknown, now: RunConfig): void {
  const before = (stored as { readonly coaching?: { readonly rubricHash?: string } } | undefined)
    ?.coaching?.rubricHash;
  const { rubricHash } = rubricHashOf(now);
  if (before === undefined || rubricHash === undefined || before === rubricHash) return;
  throw new BoundaryError(
    'config',
    `coaching.rubric: the actions of ${directory} were judged by another text than ${now.coaching.rubric} has now, and scores by two rubrics cannot be compared within a run: resume it with the old text, start a new run with --output, or judge its actions again with teamtune rescore and --set coaching.rubric`,
  );
}

/** Stands in where nobody asks a coach, so that no key is needed. */
export const unaskedCoach: WiredCoach = {
  coach: createFunctionCoach(() => ({ unscored: 'no coach is asked here' })),
  close: async () => undefined,
};

/**
 * The coach of a run, asked once whether it is there.
 *
 * @throws BoundaryError("config" or "coach") with the fix, before anything is played
 */
export async function wireCoach(config: RunConfig, around: CoachSurroundings): Promise<WiredCoach> {
  const { coach } = config;
  if (!asksCoach(config)) return unaskedCoach;
  if (typeof coach === 'string' && coach.startsWith('verifier/')) {
    const { coach: verifier, close } = await openTrainedVerifier(
      coach.slice('verifier/'.length),
      engineOptionsOf(config),
      [config.model.path, ...Object.values(config.model.agents ?? {})],
    );
    return { coach: withBudget(config, verifier, around.books), close };
  }
  if (!isOwnCoach(coach)) return wireModel(config, coach, around);
  const own = typeof coach === 'function' ? createFunctionCoach(coach) : checkOwnCoach(coach);
  return { coach: withBudget(config, own, around.books), close: async () => undefined };
}

/** Whether the user's own code judges, and no model that is shown a rubric. */
function isOwnCoach(coach: CoachChoice): coach is Exclude<CoachChoice, string | ModelObject> {
  return typeof coach === 'function' || (typeof coach === 'object' && 'score' in coach);
}

/** A coach of the user's own costs what it costs; what can be held is how often it is asked. */
function withBudget({ coaching }: RunConfig, coach: Coach, books: Books): Coach {
  const { budget } = coaching;
  if (budget.calls === undefined && budget.usd === undefined) return coach;
  if (budget.usd !== undefined) {
    throw new BoundaryError(
      'config',
      `coaching.budget.usd cannot be kept for the coach ${coach.name}, whose costs are not known here; set coaching.budget.calls`,
    );
  }
  const ledger = new Ledger({ model: coach.name, books, budget });
  return countCalls(coach, { ledger, budget });
}

async function wireModel(
  config: RunConfig,
  model: string | ModelObject,
  { books, cacheFile, watch }: CoachSurroundings,
): Promise<WiredCoach> {
  const { coaching, team } = config;
  const { budget, cache: choice } = coaching;
  const name = nameOfModel(model);
  const price = priceOf(name, coaching.prices ?? {});
  const ledger = new Ledger({
    ...{ model: name, books, budget },
    ...(price === undefined ? {} : { price }),
  });
  const path = choice === false ? undefined : (choice ?? cacheFile);
  const cache = path === undefined ? undefined : openVerdictCache(path);
  const local = await localModel(config, model);
  const close = async () => {
    cache?.close();
    await local?.close();
  };
  try {
    const llmCoach = createLlmCoach({
      model: local?.model ?? model,
      team: briefsOf(team),
      rubric: readRubric(coaching.rubric),
      timeoutMs: coaching.timeoutSeconds * 1000,
      concurrency: coaching.concurrency,
      maxAttempts: coaching.maxAttempts,
      showAnswer: coaching.showAnswer !== false,
      maxReplyTokens: coaching.maxReplyTokens,
      outageMs: coaching.outageSeconds * 1000,
      ...{ ledger, budget, onPause: watch.note },
      ...(cache === undefined ? {} : { cache }),
      ...(local === undefined ? {} : { fingerprint: local.fingerprint }),
    });
    // One small call now, rather than an evaluation and a step of plays before the first refusal.
    await llmCoach.check();
    const { showAnswer } = coaching;
    const isSelective = Array.isArray(showAnswer);
    return { coach: isSelective ? hideAnswer(llmCoach, showAnswer) : llmCoach, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The engine of a coach that is a model folder; undefined for any other. */
async function localModel(config: RunConfig, model: string | ModelObject) {
  if (typeof model !== 'string' || !model.startsWith('local/')) return undefined;
  return loadLocalModel(model.slice('local/'.length), engineOptionsOf(config));
}

/** A coach of our engine computes as the run does. */
function engineOptionsOf({ model }: RunConfig) {
  const { device, dtype, threads, maxRows } = model;
  return { device, dtype, maxRows, ...(threads === undefined ? {} : { threads }) };
}

/** What the coach is told about every agent. */
function briefsOf(team: Team): Record<string, AgentBrief> {
  const briefs = agentNames(team).map((name) => {
    const { role = name, instructions = '', maxTurns = 1 } = team.agents[name] ?? {};
    return [name, { role, instructions, maxTurns }] as const;
  });
  return Object.fromEntries(briefs);
}

const ownRubrics = ['mathchat', 'dsbench', 'discussion'];

/** @throws BoundaryError("config") when there is no such rubric */
function readRubric(choice: string): string {
  const isOwn = ownRubrics.includes(choice);
  try {
    return readFileSync(
      isOwn ? new URL(`./coach/rubrics/${choice}.md`, import.meta.url) : choice,
      'utf8',
    );
  } catch (cause) {
    throw new BoundaryError(
      'config',
      `coaching.rubric: expected ${ownRubrics.join(', ')} or the path of a Markdown file, got ${choice} (${messageOf(cause)})`,
      { cause },
    );
  }
}
