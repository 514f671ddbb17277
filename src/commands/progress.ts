import { describeUsage } from '../methods/coach-metrics.ts';
import type { Watch } from '../methods/training.ts';
import { readEvaluationName } from '../run/evaluation-name.ts';
import type { Metrics } from '../types/metrics.ts';

/** Where progress goes: a terminal gets one line that moves, anything else plain lines. */
export type Screen = {
  readonly isTerminal: boolean;
  readonly write: (text: string) => void;
};

/** Where lines do not move, what a run waits for is said when nothing else was for so long. */
const plainReminderMs = 30_000;

/** Progress of a run as people like to watch it. */
export function createProgress(
  screen: Screen,
  run: { readonly steps: number; readonly agents: readonly string[] },
): Watch {
  let started = performance.now();
  let firstStep: number | undefined;
  let shown = false;
  let lastLine = performance.now();
  let awaited: string | undefined;
  const said = new Set<string>();
  const clear = () => {
    if (shown) screen.write('\r\x1b[2K');
    shown = false;
  };
  const line = (text: string) => {
    clear();
    screen.write(`${text}\n`);
    lastLine = performance.now();
  };
  const remind = () => {
    if (awaited !== undefined && performance.now() - lastLine >= plainReminderMs) line(awaited);
  };
  // Unreferenced: it must not keep a finished process alive.
  if (!screen.isTerminal) setInterval(remind, plainReminderMs / 10).unref();
  return {
    note: (text) => line(`  ${text}`),
    waiting: (what, done, of) => {
      const text = `  waiting for ${what}: ${done}/${of}`;
      awaited = text;
      if (!screen.isTerminal) return;
      screen.write(`\r\x1b[2K${text}`);
      shown = true;
    },
    step: (step, metrics) => {
      firstStep ??= step;
      const pace = (performance.now() - started) / (step - firstStep + 1);
      line(
        describeStep(step, metrics, { ...run, secondsLeft: (pace * (run.steps - step)) / 1000 }),
      );
      for (const advice of adviceOn(step, metrics, { agents: run.agents, said })) {
        line(`  ${advice}`);
      }
    },
    evaluated: (name, metrics) => {
      line(describeEvaluation(name, metrics));
      // What was evaluated before the first step says nothing of how long a step takes.
      if (firstStep === undefined) started = performance.now();
    },
  };
}

/** For `--json`: people who watch still see progress, on stderr. */
export function screenFor(stream: NodeJS.WriteStream): Screen {
  return { isTerminal: stream.isTTY === true, write: (text) => stream.write(text) };
}

function describeStep(
  step: number,
  metrics: Metrics,
  run: { readonly steps: number; readonly agents: readonly string[]; readonly secondsLeft: number },
): string {
  const tokens = metrics['sampled-tokens'];
  const seconds = metrics['play-seconds'];
  // Actions that an interrupted process had sampled took this one no time.
  const isWhole = metrics['replayed-actions'] === undefined;
  const speed =
    isWhole && tokens !== undefined && seconds ? `${Math.round(tokens / seconds)} tok/s` : '';
  const left = run.secondsLeft > 0 ? `${duration(run.secondsLeft)} left` : '';
  return [
    `step ${String(step).padStart(String(run.steps).length)}/${run.steps}`,
    metrics.accuracy === undefined ? '' : `team ${percent(metrics.accuracy)}`,
    ...describeLearning(metrics, run.agents),
    describeCoaching(metrics),
    metrics.failed ? `${metrics.failed} plays failed` : '',
    speed,
    left,
  ]
    .filter((part) => part !== '')
    .join('  ');
}

/** What the step's method looks at, as far as it was measured: points, a discussion's turns, examples, preferences. */
function describeLearning(metrics: Metrics, agents: readonly string[]): string[] {
  const ofEach = (title: string, area: string, show: (value: number) => string) => {
    const parts = agents.flatMap((agent) => {
      const value = metrics[`${area}/${agent}`];
      return value === undefined ? [] : [`${agent} ${show(value)}`];
    });
    return parts.length === 0 ? '' : `${title} ${parts.join(' · ')}`;
  };
  return [
    ofEach('coach', 'score', (points) => points.toFixed(1)),
    describeTurns(metrics),
    metrics['leaf-value'] === undefined ? '' : `leaves worth ${metrics['leaf-value'].toFixed(2)}`,
    // Trees whose values are rewards have some, too, which nobody learns from.
    hasArea(metrics, 'sft-steps') ? ofEach('SFT examples', 'examples', String) : '',
    ofEach('DPO pairs told right', 'dpo-accuracy', percent),
  ];
}

function hasArea(metrics: Metrics, area: string): boolean {
  return Object.keys(metrics).some((name) => name.startsWith(`${area}/`));
}

/** How many answers were right in a discussion's first turn and in its last. */
function describeTurns(metrics: Metrics): string {
  const turns = Object.keys(metrics).filter((name) => name.startsWith('accuracy/turn-'));
  if (turns.length < 2) return '';
  const [first, last] = [metrics['accuracy/turn-1'], metrics[`accuracy/turn-${turns.length}`]];
  return `answers ${percent(first)} in turn 1, ${percent(last)} in turn ${turns.length}`;
}

/** A share of cut actions from which on an agent's limit is likely too small. */
const mostlyCut = 0.5;

/**
 * What a newcomer would not see in the numbers: who was not updated, and who is cut short. Each is said once in a run.
 *
 * @param run.said what was told before; grows
 */
function adviceOn(
  step: number,
  metrics: Metrics,
  { agents, said }: { readonly agents: readonly string[]; readonly said: Set<string> },
): string[] {
  const still = Object.entries(metrics)
    .filter(([name, steps]) => name.startsWith('optimizer-steps/') && steps === 0)
    .map(([name]) => name.slice('optimizer-steps/'.length));
  // A policy that several agents play has a name of its own.
  const isUniform = (id: string) =>
    (agents.includes(id) ? [id] : agents).every((agent) => metrics[`uniform/${agent}`] === 1);
  const cutShare = (agent: string) => metrics[`truncated/${agent}`] ?? 0;
  const sayings = [
    {
      about: `nothing to learn in step ${step}, as all rewards were equal`,
      whom: still.filter(isUniform),
    },
    {
      about: `nothing to learn in step ${step}, as no action got credit`,
      whom: still.filter((id) => !isUniform(id)),
    },
    {
      about: `many actions of step ${step} were cut off at maxTokens or rollout.maxActionTokens`,
      whom: agents.filter((agent) => cutShare(agent) > mostlyCut),
      detail: (agent: string) => ` ${percent(cutShare(agent))}`,
    },
  ];
  return sayings.flatMap(({ about, whom, detail }, kind) => {
    const fresh = whom.filter((one) => !said.has(`${kind} ${one}`));
    for (const one of fresh) said.add(`${kind} ${one}`);
    const names = fresh.map((one) => `${one}${detail?.(one) ?? ''}`);
    return names.length === 0 ? [] : [`${about}: ${names.join(', ')}`];
  });
}

/** What a step's coaching cost, where calls were made. */
function describeCoaching(metrics: Metrics): string {
  const { 'coach-calls': calls, 'coach-cached': cached, 'coach-usd': usd } = metrics;
  const unscored = metrics['unscored-share'];
  return [
    calls === undefined ? '' : `(${describeUsage({ calls, cached, usd })})`,
    unscored ? `${percent(unscored)} unscored` : '',
  ]
    .filter((part) => part !== '')
    .join('  ');
}

function describeEvaluation(name: string, metrics: Metrics): string {
  const interval = `95 % interval ${percent(metrics['accuracy-low'])} to ${percent(metrics['accuracy-high'])}`;
  const failed = metrics.failed ? `, ${metrics.failed} plays failed` : '';
  const fair = Object.entries(metrics).filter(([measure]) => measure.startsWith('fair-'));
  const measures = fair.map(([measure, value]) => `, ${measure} ${value.toFixed(3)}`).join('');
  const { moment, set } = readEvaluationName(name);
  // The only one of `teamtune evaluate` has no moment to tell.
  const which = [
    moment === 'evaluation' ? '' : ` ${moment}`,
    set === undefined ? '' : ` of ${set}`,
  ];
  return `evaluation${which.join('')}: team ${percent(metrics.accuracy)} on ${metrics.tasks} tasks (${interval})${measures}${failed}`;
}

/** A share as a percentage; a dash when it was not measured. */
export function percent(share: number | undefined): string {
  return share === undefined ? '–' : `${(share * 100).toFixed(1)} %`;
}

/** Seconds as `45 s`, `3 min 20 s` or, from three hours on, `4.5 h`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole >= 3 * 3600) return `${(whole / 3600).toFixed(1)} h`;
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
