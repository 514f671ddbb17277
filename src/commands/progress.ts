import { describeUsage } from '../methods/coach-metrics.ts';
import type { Watch } from '../methods/training.ts';
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
  const scores = run.agents.map((agent) => `${agent} ${fixed(metrics[`score/${agent}`], 1)}`);
  const tokens = metrics['sampled-tokens'];
  const seconds = metrics['play-seconds'];
  // Actions that an interrupted process had sampled took this one no time.
  const isWhole = metrics['replayed-actions'] === undefined;
  const speed =
    isWhole && tokens !== undefined && seconds ? `${Math.round(tokens / seconds)} tok/s` : '';
  const left = run.secondsLeft > 0 ? `${duration(run.secondsLeft)} left` : '';
  return [
    `step ${String(step).padStart(String(run.steps).length)}/${run.steps}`,
    `team ${percent(metrics.accuracy)}`,
    `coach ${scores.join(' · ')}`,
    describeCoaching(metrics),
    metrics.failed ? `${metrics.failed} plays failed` : '',
    speed,
    left,
  ]
    .filter((part) => part !== '')
    .join('  ');
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
  return `evaluation ${name}: team ${percent(metrics.accuracy)} on ${metrics.tasks} tasks (${interval})${measures}${failed}`;
}

/** A share as a percentage; a dash when it was not measured. */
export function percent(share: number | undefined): string {
  return share === undefined ? '–' : `${(share * 100).toFixed(1)} %`;
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined ? '–' : value.toFixed(digits);
}

/** Seconds as `45 s`, `3 min 20 s` or, from three hours on, `4.5 h`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole >= 3 * 3600) return `${(whole / 3600).toFixed(1)} h`;
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
