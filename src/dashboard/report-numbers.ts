import { type Accuracy, accuracyOf, gainBetween } from '../run/accuracy.ts';
import { readEvaluationName } from '../run/evaluation-name.ts';
import type { Run } from '../run/run-store.ts';
import type { AgentTotals, CountedCause } from '../run/summaries.ts';
import type { Metrics } from '../types/metrics.ts';
import { type Discussions, gatherDiscussions } from './discussion-numbers.ts';
import { type CoachAudit, gatherAudit } from './report-audit.ts';
import { type Coaching, gatherCoaching } from './report-coaching.ts';
import { chooseExamples, type Example } from './report-examples.ts';
import { gatherLessons, gatherTrees, type Lesson, type ShownTree } from './report-trees.ts';

/** A value at a training step. */
export type Point = { readonly step: number; readonly value: number };
export type Series = { readonly name: string; readonly points: readonly Point[] };

/** An evaluation on the axis of training steps; the one before training stands before the first step. */
export type EvaluationPoint = {
  /** When: `base` or `start`, `step-8`, `trained`. */
  readonly name: string;
  readonly step: number;
  readonly accuracy: Accuracy;
};

/** How the team did on one held-out set, in the order of the evaluations. */
export type HeldOutResult = {
  readonly set?: string;
  readonly evaluations: readonly EvaluationPoint[];
  /** Last − first, paired by task. */
  readonly gain?: { readonly gain: number; readonly low: number; readonly high: number };
};

export type AgentLine = {
  readonly agent: string;
  readonly actions: number;
  /** Mean coach points of the first and of the last steps, 0–10. */
  readonly firstScore?: number;
  readonly lastScore?: number;
  /** Shares in [0, 1]; absent when there was nothing to share. */
  readonly scored?: number;
  readonly toolSuccess?: number;
  readonly tokensPerAction: number;
};

/** Everything the report shows, as numbers and records. */
export type Report = {
  readonly writtenAt: Date;
  /** As the config says; absent in a run whose config was not recorded. */
  readonly name?: string;
  readonly steps: number;
  /** The steps that `firstScore` and `lastScore` are means of, for example `1–5`. */
  readonly firstSteps: string;
  readonly lastSteps: string;
  /** One for each held-out set; a single one may have no name. */
  readonly heldOut: readonly HeldOutResult[];
  readonly agents: readonly AgentLine[];
  readonly scores: readonly Series[];
  readonly accuracy: Series;
  /** One chart each: metric area → one series per agent. */
  readonly diagnostics: Readonly<Record<string, readonly Series[]>>;
  readonly coaching?: Coaching;
  readonly discussions?: Discussions;
  readonly causes: readonly CountedCause[];
  readonly audit?: CoachAudit;
  readonly examples: readonly Example[];
  /** Empty where the run grew none. */
  readonly trees: readonly ShownTree[];
  readonly lessons: readonly Lesson[];
  readonly config: unknown;
  readonly totals: {
    readonly plays: number;
    readonly actions: number;
    readonly tokens: number;
    readonly seconds?: number;
  };
};

type StepMetrics = { readonly step: number; readonly metrics: Metrics };
const diagnosticAreas = [
  ...['kl', 'grad-norm', 'entropy', 'clip-fraction', 'behaviour-kl', 'truncated-ratios'],
  ...['unscored-share', 'loss', 'logprob-gap'],
];

/** Reads a run; what it did not measure is absent. */
export function gatherReport(run: Run): Report {
  const metrics = run.metrics();
  const totals = run.agentTotals();
  const training = totals.filter(({ scope }) => isStep(scope));
  const agents = [...new Set(training.map(({ agent }) => agent))];
  const scores = agents.map((agent) => scoreSeries(agent, metrics, training));
  const ends = endsOf(training);
  const steps = stepsOf(metrics, ends);
  const name = nameOf(run.resolvedConfig);
  const audit = gatherAudit(run);
  const coaching = gatherCoaching(run);
  const discussions = gatherDiscussions(run);
  return {
    writtenAt: new Date(),
    ...(name === undefined ? {} : { name }),
    steps: steps.length,
    firstSteps: rangeOf(ends.first),
    lastSteps: rangeOf(ends.last),
    heldOut: heldOutResults(run, steps),
    agents: agents.map((agent) => agentLine(agent, training, ends)),
    scores: scores.filter(({ points }) => points.length > 0),
    accuracy: { name: 'training plays', points: pointsOf(metrics, 'accuracy') },
    diagnostics: diagnosticsOf(metrics, agents),
    ...(coaching === undefined ? {} : { coaching }),
    ...(discussions === undefined ? {} : { discussions }),
    causes: run.countedCauses(),
    ...(audit === undefined ? {} : { audit }),
    examples: chooseExamples(run, ends.steps),
    trees: gatherTrees(run, ends.steps),
    lessons: gatherLessons(metrics, agents),
    config: run.resolvedConfig,
    totals: runTotals(training, metrics, run),
  };
}

function isStep(scope: string): boolean {
  return /^\d+$/.test(scope);
}

type Ends = {
  readonly steps: readonly number[];
  readonly first: readonly number[];
  readonly last: readonly number[];
};

/** The first and the last quarter of the steps, at most five each, so that a mean is not one lucky step. */
function endsOf(training: readonly AgentTotals[]): Ends {
  const steps = [...new Set(training.map(({ scope }) => Number(scope)))].sort((a, b) => a - b);
  const count = Math.max(1, Math.min(5, Math.floor(steps.length / 4)));
  return { steps, first: steps.slice(0, count), last: steps.slice(-count) };
}

/** A step may play nothing: MALT's second of a round learns from the plays of the first. */
function stepsOf(metrics: readonly StepMetrics[], ends: Ends): number[] {
  const steps = [...ends.steps, ...metrics.map(({ step }) => step)];
  return [...new Set(steps)].sort((a, b) => a - b);
}

function nameOf(config: unknown): string | undefined {
  const isNamed = typeof config === 'object' && config !== null && 'name' in config;
  return isNamed && typeof config.name === 'string' ? config.name : undefined;
}

function rangeOf(steps: readonly number[]): string {
  const [first, last] = [steps[0], steps.at(-1)];
  if (first === undefined || last === undefined) return '–';
  return first === last ? `${first}` : `${first}–${last}`;
}

function agentLine(agent: string, training: readonly AgentTotals[], ends: Ends): AgentLine {
  const own = training.filter((totals) => totals.agent === agent);
  const actions = sum(own, 'actions');
  const judged = sum(own, 'scored') + sum(own, 'unscored');
  const toolCalls = sum(own, 'toolCalls');
  const scoreOver = (steps: readonly number[]) => {
    const part = own.filter(({ scope }) => steps.includes(Number(scope)));
    const scored = sum(part, 'scored');
    return scored === 0 ? undefined : sum(part, 'points') / scored;
  };
  const [firstScore, lastScore] = [scoreOver(ends.first), scoreOver(ends.last)];
  return {
    agent,
    actions,
    ...(firstScore === undefined ? {} : { firstScore }),
    ...(lastScore === undefined ? {} : { lastScore }),
    ...(judged === 0 ? {} : { scored: sum(own, 'scored') / judged }),
    ...(toolCalls === 0 ? {} : { toolSuccess: sum(own, 'toolSuccesses') / toolCalls }),
    tokensPerAction: actions === 0 ? 0 : sum(own, 'tokens') / actions,
  };
}

type Countable =
  | 'actions'
  | 'tokens'
  | 'scored'
  | 'unscored'
  | 'points'
  | 'toolCalls'
  | 'toolSuccesses';

function sum(totals: readonly AgentTotals[], key: Countable): number {
  return totals.reduce((total, entry) => total + entry[key], 0);
}

/** The recorded metric, or where there is none the mean of the stored feedback. */
function scoreSeries(
  agent: string,
  metrics: readonly StepMetrics[],
  training: readonly AgentTotals[],
): Series {
  const recorded = pointsOf(metrics, `score/${agent}`);
  if (recorded.length > 0) return { name: agent, points: recorded };
  const points = training
    .filter((totals) => totals.agent === agent && totals.scored > 0)
    .map(({ scope, points: sumOfPoints, scored }) => ({
      step: Number(scope),
      value: sumOfPoints / scored,
    }))
    .sort((a, b) => a.step - b.step);
  return { name: agent, points };
}

function pointsOf(metrics: readonly StepMetrics[], name: string): Point[] {
  return metrics.flatMap(({ step, metrics: values }) => {
    const value = values[name];
    return value === undefined ? [] : [{ step, value }];
  });
}

function diagnosticsOf(
  metrics: readonly StepMetrics[],
  agents: readonly string[],
): Record<string, readonly Series[]> {
  const charts: Record<string, readonly Series[]> = {};
  for (const area of diagnosticAreas) {
    const series = agents
      .map((agent) => ({ name: agent, points: pointsOf(metrics, `${area}/${agent}`) }))
      .filter(({ points }) => points.length > 0);
    if (series.length > 0) charts[area] = series;
  }
  return charts;
}

function heldOutResults(run: Run, steps: readonly number[]): HeldOutResult[] {
  const sets = Map.groupBy(run.evaluations(), ({ name }) => readEvaluationName(name).set);
  return [...sets].map(([set, evaluations]) => {
    const [first, last] = [evaluations[0], evaluations.at(-1)];
    const gain = first && last && first !== last ? gainBetween(first.rows, last.rows) : undefined;
    return {
      ...(set === undefined ? {} : { set }),
      evaluations: evaluationPoints(evaluations, steps),
      ...(gain === undefined ? {} : { gain }),
    };
  });
}

function evaluationPoints(
  evaluations: ReturnType<Run['evaluations']>,
  steps: readonly number[],
): EvaluationPoint[] {
  const before = (steps[0] ?? 1) - 1;
  return evaluations.flatMap(({ name, rows }, at) => {
    const accuracy = accuracyOf(rows);
    if (accuracy === undefined) return [];
    const { moment } = readEvaluationName(name);
    const named = /^step-0*(\d+)$/.exec(moment)?.[1];
    const place = at === 0 ? before : (steps.at(-1) ?? at);
    return [{ name: moment, accuracy, step: named === undefined ? place : Number(named) }];
  });
}

function runTotals(
  training: readonly AgentTotals[],
  metrics: readonly StepMetrics[],
  run: Run,
): Report['totals'] {
  const seconds = pointsOf(metrics, 'seconds');
  return {
    plays: run.countTrainingPlays(),
    actions: sum(training, 'actions'),
    tokens: sum(training, 'tokens'),
    ...(seconds.length === 0
      ? {}
      : { seconds: seconds.reduce((total, { value }) => total + value, 0) }),
  };
}
