import type { CountedCause } from '../run/summaries.ts';
import { barChart, type Chart, lineChart } from './chart.ts';
import { Html, html } from './html.ts';
import { auditSection } from './report-audit.ts';
import { coachingSection } from './report-coaching.ts';
import { discussionSection } from './report-discussion.ts';
import type {
  AgentLine,
  EvaluationPoint,
  HeldOutResult,
  Report,
  Series,
} from './report-numbers.ts';
import { reportStyle } from './report-style.ts';
import { transcript } from './report-transcript.ts';
import { treesSection } from './report-trees.ts';

/** The whole report as one page that loads nothing and runs nothing. */
export function renderPage(report: Report): string {
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>${pageTitle(report)}</title><style>${new Html(reportStyle)}</style></head>
<body><a class="skip" href="#main">Skip to the results</a><main id="main">
${headline(report)}${agentsSection(report)}${curvesSection(report)}${discussionSection(report.discussions)}${auditSection(report.audit)}${examplesSection(report)}${treesSection(report)}
${coachingSection(report.coaching)}${diagnosticsSection(report)}${causesSection(report)}${configSection(report)}
<footer class="page"><p>Every number is read from this run’s <code>run.db</code>. What was not measured is left out, never shown as zero.</p></footer>
</main></body></html>
`;
  return page.markup;
}

function pageTitle({ name, heldOut }: Report): string {
  const changes = heldOut.flatMap(({ set, evaluations }) => {
    const [base, trained] = [evaluations[0], evaluations.at(-1)];
    if (base === undefined || trained === undefined || base === trained) return [];
    const change = `${percent(base.accuracy.accuracy)} to ${percent(trained.accuracy.accuracy)}`;
    return set === undefined ? change : `${set} ${change}`;
  });
  const run = name === undefined ? 'teamtune run' : `teamtune run ${name}`;
  return changes.length === 0 ? run : `${run}: ${changes.join(', ')}`;
}

function headline(report: Report): Html {
  const { totals } = report;
  const facts = [
    `${report.steps} training step${report.steps === 1 ? '' : 's'}`,
    `${count(totals.plays)} plays`,
    `${count(totals.actions)} actions`,
    `${count(totals.tokens)} sampled tokens`,
    ...(totals.seconds === undefined ? [] : [duration(totals.seconds)]),
  ];
  const title = report.name === undefined ? 'run report' : `report of the run ${report.name}`;
  const written = report.writtenAt.toISOString().slice(0, 16).replace('T', ' ');
  return html`<header class="top"><p class="brand">teamtune <span>${title} · ${written} UTC</span></p>
${result(report)}<ul class="factline">${facts.map((fact) => html`<li>${fact}</li>`)}</ul></header>`;
}

function result({ heldOut }: Report): Html {
  const evaluated = heldOut.filter(({ evaluations }) => evaluations.length > 0);
  const [only] = evaluated;
  if (only === undefined) {
    return html`<h1>A team in training</h1><p class="lead">No evaluation is recorded yet, so this page shows training plays only.</p>`;
  }
  return evaluated.length === 1 ? setResult(only) : html`${evaluated.map(namedResult)}`;
}

/** One of several sets: the same, smaller. */
function namedResult(held: HeldOutResult): Html {
  return html`<section class="held" aria-label="${held.set ?? 'held-out tasks'}">${setResult(held)}</section>`;
}

function setResult({ set, evaluations, gain }: HeldOutResult): Html {
  const [base, trained] = [evaluations[0], evaluations.at(-1)] as [
    EvaluationPoint,
    EvaluationPoint,
  ];
  const { tasks, samples } = trained.accuracy;
  const perTask = samples / tasks;
  const measured = `${tasks} held-out tasks${perTask === 1 ? '' : ` × ${Number(perTask.toFixed(1))} samples`}`;
  const label = set === undefined ? 'Team accuracy' : `Team accuracy on ${set}`;
  if (base === trained) {
    return html`<h1><span class="label">${label}</span> <em>${percent(base.accuracy.accuracy)}</em></h1><p class="lead">${base.name}, ${interval(base.accuracy)}, on ${measured}.</p>`;
  }
  return html`<h1><span class="label">${label}</span> <span class="from">${percent(base.accuracy.accuracy)}</span> <span class="arrow" aria-label="to">→</span> <em>${percent(trained.accuracy.accuracy)}</em></h1>
<p class="lead">${gain === undefined ? undefined : html`<b>${signed(100 * gain.gain)} points</b> (95 % interval ${signed(100 * gain.low)} to ${signed(100 * gain.high)}, paired by task) `}on ${measured}.</p>
${barChart(`${set === undefined ? 'Before' : `${set}: before`} and after training`, [base, trained])}`;
}

function agentsSection(report: Report): Html {
  if (report.agents.length === 0) return html``;
  const isScored = report.agents.some(({ scored }) => scored !== undefined);
  const heads = [
    ...(isScored ? ['First steps', 'Last steps', 'Change', 'Scored'] : []),
    ...['Tool calls ok', 'Tokens / action', 'Actions'],
  ];
  return html`<section><h2>The agents</h2><p>${isScored ? scoredWhen(report) : 'No coach scored their actions in this run.'}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Per agent"><table class="agents"><thead><tr><th scope="col">Agent</th>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${report.agents.map((line) => agentRow(line, isScored))}</tbody></table></div></section>`;
}

function scoredWhen({ firstSteps, lastSteps }: Report): string {
  const named = (range: string) => `step${range.includes('–') ? 's' : ''} ${range}`;
  const when = [...new Set([firstSteps, lastSteps])].map((range) => `over ${named(range)}`);
  return `Mean coach score, 0 to 10, ${when.join(' and ')}.`;
}

function agentRow(line: AgentLine, isScored: boolean): Html {
  const { firstScore, lastScore } = line;
  const change =
    firstScore === undefined || lastScore === undefined ? '–' : signed(lastScore - firstScore, 2);
  const points = html`<td>${fixed(firstScore, 2)}</td><td><b>${fixed(lastScore, 2)}</b></td><td>${change}</td><td>${share(line.scored)}</td>`;
  return html`<tr><th scope="row">${line.agent}</th>${isScored ? points : undefined}<td>${share(line.toolSuccess)}</td><td>${fixed(line.tokensPerAction, 1)}</td><td>${count(line.actions)}</td></tr>`;
}

function curvesSection(report: Report): Html {
  const charts = [
    lineChart({
      title: 'Coach score',
      unit: 'mean points per agent, 0–10',
      series: report.scores,
      range: [0, 10],
      format: plain,
    }),
    lineChart({
      title: 'Team accuracy',
      unit: 'share of correct plays',
      series: accuracySeries(report),
      range: [0, 1],
      format: (value) => `${plain(100 * value)} %`,
      marks: report.heldOut.length === 1 ? (report.heldOut[0]?.evaluations ?? []) : [],
    }),
  ].filter(({ markup }) => markup !== '');
  if (charts.length === 0) return html``;
  return html`<section><h2>Learning</h2><div class="charts">${charts}</div></section>`;
}

/** Training plays and, where there are several held-out sets, a line for each; a single one is drawn with its intervals. */
function accuracySeries({ accuracy, heldOut }: Report): Series[] {
  const sets = heldOut.length < 2 ? [] : heldOut;
  const lines = sets.map(({ set, evaluations }) => ({
    name: set ?? 'held-out',
    points: evaluations.map(({ step, accuracy: { accuracy: value } }) => ({ step, value })),
  }));
  return [accuracy, ...lines].filter(({ points }) => points.length > 0);
}

const diagnosticTexts: Readonly<
  Record<string, Pick<Chart, 'title' | 'unit' | 'format' | 'range'>>
> = {
  kl: { title: 'KL to the base model', unit: 'nats per token', format: precise },
  'grad-norm': { title: 'Gradient norm', unit: 'before clipping', format: precise },
  entropy: { title: 'Entropy', unit: 'nats per token', format: precise },
  'clip-fraction': {
    title: 'Clipped tokens',
    unit: 'share of tokens',
    format: (v) => `${plain(100 * v)} %`,
  },
  'behaviour-kl': {
    title: 'KL of the policies that played',
    unit: 'nats per token, from those that learn',
    format: precise,
  },
  'truncated-ratios': {
    title: 'Truncated ratios',
    unit: 'share of tokens',
    format: (v) => `${plain(100 * v)} %`,
  },
  'unscored-share': {
    title: 'Unscored actions',
    unit: 'share of actions',
    format: (v) => `${plain(100 * v)} %`,
  },
  loss: { title: 'Loss', unit: 'as optimised', format: precise },
};

function diagnosticsSection(report: Report): Html {
  const charts = Object.entries(report.diagnostics).flatMap(([area, series]) => {
    const texts = diagnosticTexts[area];
    return texts === undefined ? [] : [lineChart({ ...texts, series })];
  });
  if (charts.length === 0) return html``;
  return html`<section><h2>Training health</h2><div class="charts small">${charts}</div></section>`;
}

function examplesSection(report: Report): Html {
  if (report.examples.length === 0) return html``;
  return html`<section><h2>Plays to read</h2><div class="plays">${report.examples.map(transcript)}</div></section>`;
}

const causeKinds = { play: 'play failed', coach: 'no score', tool: 'tool call' } as const;

function causesSection(report: Report): Html {
  const body =
    report.causes.length === 0
      ? html`<p>No play failed, no action went unscored and no tool call went wrong.</p>`
      : html`<p>Counted and never trained on as if they were numbers.</p><div class="scroll" tabindex="0" role="region" aria-label="Failures by cause"><table class="causes"><thead><tr><th scope="col">What</th><th scope="col">Where</th><th scope="col">Cause</th><th scope="col">Count</th></tr></thead><tbody>${report.causes.slice(0, 50).map(causeRow)}</tbody></table></div>`;
  return html`<section><h2>What went wrong</h2>${body}</section>`;
}

function causeRow(cause: CountedCause): Html {
  return html`<tr><th scope="row">${causeKinds[cause.kind]}</th><td>${cause.where}</td><td class="words">${cause.cause}</td><td>${count(cause.count)}</td></tr>`;
}

function configSection(report: Report): Html {
  if (report.config === undefined) return html``;
  return html`<section><h2>Configuration</h2><details class="config"><summary>Everything this run was started with</summary><pre tabindex="0">${JSON.stringify(report.config, undefined, 2)}</pre></details></section>`;
}

function interval({ low, high }: { readonly low: number; readonly high: number }): string {
  return `95 % interval ${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)} %`;
}

function percent(value: number): string {
  return `${(100 * value).toFixed(1)} %`;
}

function share(value: number | undefined): string {
  return value === undefined ? '–' : percent(value);
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined ? '–' : value.toFixed(digits);
}

function signed(value: number, digits = 1): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;
}

/** At most two decimals. */
function plain(value: number): string {
  return String(Number(value.toFixed(2)));
}

function precise(value: number): string {
  return String(Number(value.toPrecision(3)));
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s of training`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min of training` : `${(minutes / 60).toFixed(1)} h of training`;
}
