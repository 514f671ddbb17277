import { join } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import { writeReport } from '../dashboard/report.ts';
import { BoundaryError, messageOf } from '../errors.ts';
import { type Evaluation, summarizeEvaluation } from '../evaluate.ts';
import type { Watch } from '../methods/training.ts';
import { agentNames } from '../rollout/team.ts';
import { gainBetween } from '../run/accuracy.ts';
import type { Interval } from '../run/bootstrap-mean.ts';
import { evaluationName, firstMoments, readEvaluationName } from '../run/evaluation-name.ts';
import type { EvaluationRow } from '../run/rows.ts';
import type { Run } from '../run/run-store.ts';
import { train } from '../train.ts';
import type { CoachUsage } from '../types/feedback.ts';
import { type OnInterrupt, type Wired, wire } from '../wiring.ts';

/** What a finished run came to; the object that `--json` prints. */
export type TrainingResult = SetResult & {
  readonly run: string;
  readonly report: string;
  readonly seed: number;
  /** One for each held-out set that has a name. */
  readonly sets?: Readonly<Record<string, SetResult>>;
  /** Agent → mean coach score (0–10) over the first and the last steps. */
  readonly perAgent: Readonly<Record<string, AgentResult>>;
  /** What the coach was asked and what it cost in the whole run; absent where no call was booked. */
  readonly coach?: CoachUsage;
  readonly trainSeconds: number;
};

/** What training changed on one held-out set; at the top of the result where the only set has no name. */
type SetResult = {
  readonly before?: EvaluationResult;
  readonly after?: EvaluationResult;
  /** After − before, paired by task. */
  readonly gain?: { readonly gain: number; readonly low: number; readonly high: number };
};

export type EvaluationResult = {
  readonly accuracy: number;
  readonly interval: readonly [number, number];
  readonly majority: number;
  readonly passAtK: Readonly<Record<string, number>>;
  readonly tasks: number;
  readonly samples: number;
  /** What else the grader measured, by name: mean over tasks with its 95 % bootstrap interval. */
  readonly measures?: Readonly<Record<string, Interval>>;
};

export type AgentResult = { readonly firstScore?: number; readonly lastScore?: number };

/** How often a run goes on by itself where its server has lost what it had, without a step done in between. */
const mostReturns = 3;

/**
 * Trains a run to its end and writes its report. Where a server has lost what it had, the run goes on from its last
 * checkpoint, as a resume would.
 */
export async function runTraining(
  config: RunConfig,
  options: {
    readonly directory: string;
    readonly resume: boolean;
    /** A folder with each agent's weights and optimiser to start from; absent = untrained adapters. */
    readonly checkpoint?: string;
    readonly watch: Watch;
    readonly onInterrupt?: OnInterrupt;
  },
): Promise<TrainingResult> {
  const started = performance.now();
  let [returns, reached] = [0, 0];
  for (;;) {
    const resume = options.resume || returns > 0;
    const wired = await wire(config, { ...options, resume });
    returns = wired.from > reached ? 0 : returns;
    reached = wired.from;
    try {
      return await trainWired(config, wired, { ...options, started });
    } catch (error) {
      if (!isServerLoss(error)) throw error;
      if (++returns > mostReturns) throw gaveUp(error);
      options.watch.note(`${messageOf(error)}: going on from the last checkpoint`);
    } finally {
      await wired.close();
    }
  }
}

/** The engine of this process loses nothing: what may be tried again there is a server's. */
function isServerLoss(error: unknown): boolean {
  return error instanceof BoundaryError && error.boundary === 'engine' && error.retryable;
}

function gaveUp(cause: unknown): BoundaryError {
  return new BoundaryError(
    'engine',
    `${messageOf(cause)}: that was ${mostReturns + 1} times without a step in between; once the server keeps what it has, the same command with --resume goes on from the last checkpoint`,
    { cause },
  );
}

async function trainWired(
  config: RunConfig,
  { training, method, from, checkpoint }: Wired,
  {
    directory,
    checkpoint: start,
    watch,
    started,
  }: {
    readonly directory: string;
    readonly checkpoint?: string;
    readonly watch: Watch;
    readonly started: number;
  },
): Promise<TrainingResult> {
  const report = join(directory, 'report.html');
  if (from > 1) watch.note(`resuming after step ${from - 1}`);
  await train(training, method, {
    ...{ from, checkpoint },
    start: start === undefined ? 'base' : 'start',
  });
  writeReport(training.run, report);
  return {
    run: directory,
    report,
    seed: config.seed,
    ...evaluationsOf(training.run),
    ...coachUsage(training.run),
    perAgent: agentResults(training.run, agentNames(config.team)),
    trainSeconds: (performance.now() - started) / 1000,
  };
}

/** What the calls of a run's coach came to; nothing where it was not called, or keeps no books. */
export function coachUsage({ coachRecords }: Run): { readonly coach?: CoachUsage } {
  const coach = coachRecords.totals();
  return coach.calls + coach.cached === 0 ? {} : { coach };
}

function evaluationsOf(run: Run): Pick<TrainingResult, 'sets' | keyof SetResult> {
  const rows = new Map(run.evaluations().map((evaluation) => [evaluation.name, evaluation.rows]));
  const sets = [...rows.keys()].map((name) => readEvaluationName(name).set);
  const results = [...new Set(sets)].map((set) => ({ set, result: setResult(rows, set) }));
  const named = results.flatMap(({ set, result }) =>
    set === undefined ? [] : [[set, result] as const],
  );
  return named.length === 0 ? (results[0]?.result ?? {}) : { sets: Object.fromEntries(named) };
}

function setResult(
  rows: ReadonlyMap<string, readonly EvaluationRow[]>,
  set: string | undefined,
): SetResult {
  const first = firstMoments.flatMap((moment) => rows.get(evaluationName(moment, set)) ?? []);
  const trained = rows.get(evaluationName('trained', set));
  if (first.length === 0 || !trained) return {};
  const before = resultOf(summarizeEvaluation('before', first));
  const after = resultOf(summarizeEvaluation('trained', trained));
  const gain = gainBetween(first, trained);
  return {
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
    ...(gain === undefined ? {} : { gain }),
  };
}

/** An evaluation as `--json` prints it; undefined when nothing was played. */
export function resultOf({
  accuracy,
  majority,
  passAtK,
  measures,
}: Evaluation): EvaluationResult | undefined {
  if (accuracy === undefined) return undefined;
  const { accuracy: mean, low, high, tasks, samples } = accuracy;
  return {
    ...{ accuracy: mean, interval: [low, high], majority, passAtK, tasks, samples },
    ...(Object.keys(measures).length === 0 ? {} : { measures }),
  };
}

function agentResults(run: Run, agents: readonly string[]): Record<string, AgentResult> {
  const steps = run.metrics();
  const meanScore = (agent: string, part: typeof steps) => {
    const scores = part.flatMap(({ metrics }) => metrics[`score/${agent}`] ?? []);
    return scores.length === 0
      ? undefined
      : scores.reduce((sum, score) => sum + score, 0) / scores.length;
  };
  // No step is both among the first and the last; of one step there is only the last.
  const edge = Math.min(3, Math.floor(steps.length / 2));
  return Object.fromEntries(
    agents.map((agent) => {
      const firstScore = meanScore(agent, steps.slice(0, edge));
      const lastScore = meanScore(agent, steps.slice(-Math.max(1, edge)));
      return [
        agent,
        {
          ...(firstScore === undefined ? {} : { firstScore }),
          ...(lastScore === undefined ? {} : { lastScore }),
        },
      ];
    }),
  );
}
