import { type Html, html } from './html.ts';
import type { EvaluationPoint, Point, Series } from './report-numbers.ts';

/** What a chart shows; every chart comes with the same numbers as a table. */
export type Chart = {
  readonly title: string;
  /** What is on the vertical axis, with its unit. */
  readonly unit: string;
  readonly series: readonly Series[];
  /** Fixed ends of the vertical axis, where the scale has them. */
  readonly range?: readonly [number, number];
  readonly format: (value: number) => string;
  readonly marks?: readonly EvaluationPoint[];
};

// A drawing about as wide as a phone, so that its text is readable there without zooming.
const width = 400;
const height = 220;
const inner = { left: 40, right: 388, top: 10, bottom: 190 };

type Scale = { readonly x: (step: number) => number; readonly y: (value: number) => number };

/** Lines over training steps, each with its own colour, dash and marker. */
export function lineChart(chart: Chart): Html {
  const points = chart.series.flatMap((series) => series.points);
  const marks = chart.marks ?? [];
  if (points.length + marks.length === 0) return html``;
  const steps = [...points.map(({ step }) => step), ...marks.map(({ step }) => step)];
  const [firstStep, lastStep] = [Math.min(...steps), Math.max(...steps)];
  const ticks = ticksFor(chart, points);
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const scale: Scale = {
    x: (step) =>
      inner.left +
      ((step - firstStep) / Math.max(1, lastStep - firstStep)) * (inner.right - inner.left),
    y: (value) => inner.bottom - ((value - low) / (high - low || 1)) * (inner.bottom - inner.top),
  };
  const label = `${chart.title}, ${chart.unit}, over training steps ${firstStep} to ${lastStep}; the numbers are in the table below the chart`;
  return html`<figure class="chart"><figcaption><b>${chart.title}</b> <span>${chart.unit}</span></figcaption>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">
${grid(ticks, scale, chart.format)}${stepLabels([firstStep, lastStep], scale)}
${chart.series.map((series, at) => line(series, at, scale))}${marks.map((mark) => whisker(mark, scale))}
</svg>${legend(chart)}${numbersTable(chart)}</figure>`;
}

/** Round values from below the lowest to above the highest point. */
function ticksFor(chart: Chart, points: readonly Point[]): number[] {
  const values = points.map(({ value }) => value);
  const [low, high] = chart.range ?? [Math.min(0, ...values), Math.max(...values, 0)];
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const size =
    [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => span / step <= 5) ?? power;
  const [first, last] = [Math.floor(low / size + 1e-9), Math.ceil(high / size - 1e-9)];
  const count = Math.max(1, last - first) + 1;
  return Array.from({ length: count }, (_, at) => (first + at) * size);
}

function grid(ticks: readonly number[], scale: Scale, format: Chart['format']): Html[] {
  return ticks.map((tick) => {
    const y = rounded(scale.y(tick));
    return html`<line class="grid" x1="${inner.left}" x2="${inner.right}" y1="${y}" y2="${y}"/><text class="tick" x="${inner.left - 6}" y="${y + 4}" text-anchor="end">${format(tick)}</text>`;
  });
}

function stepLabels([first, last]: readonly [number, number], scale: Scale): Html[] {
  const middle = Math.round((first + last) / 2);
  const labels = [...new Set([first, middle, last])];
  return labels.map((step) => {
    const anchor = step === last && step !== first ? 'end' : step === first ? 'start' : 'middle';
    const name = step === first ? `step ${step}` : String(step);
    return html`<text class="tick" x="${rounded(scale.x(step))}" y="${height - 10}" text-anchor="${anchor}">${name}</text>`;
  });
}

function line(series: Series, at: number, scale: Scale): Html {
  const places = series.points.map(({ step, value }) => [scale.x(step), scale.y(value)] as const);
  const path = places.map(
    ([x, y], index) => `${index === 0 ? 'M' : 'L'}${rounded(x)} ${rounded(y)}`,
  );
  // A few markers tell lines apart without colour; one at every step would hide the line.
  const every = Math.max(1, Math.ceil(places.length / 6));
  const markers = places.filter((_, index) => (places.length - 1 - index) % every === 0);
  return html`<path class="line s${at % 6}" d="${path.join('')}"/>${markers.map(([x, y]) => marker(at, x, y))}`;
}

const markerPaths = [
  'M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0',
  'M-3.2 -3.2h6.4v6.4h-6.4z',
  'M0 -4.4L4.2 3.2H-4.2z',
  'M0 -4.6L4.6 0L0 4.6L-4.6 0z',
  'M0 4.4L4.2 -3.2H-4.2z',
  'M-4 0H4M0 -4V4',
];

function marker(at: number, x: number, y: number): Html {
  return html`<path class="marker s${at % 6}" transform="translate(${rounded(x)} ${rounded(y)})" d="${markerPaths[at % 6]}"/>`;
}

function whisker({ name, step, accuracy }: EvaluationPoint, scale: Scale): Html {
  const x = rounded(scale.x(step));
  const [low, high, middle] = [accuracy.low, accuracy.high, accuracy.accuracy].map((value) =>
    rounded(scale.y(value)),
  );
  return html`<g class="whisker"><title>${name}</title><path d="M${x} ${low}V${high}M${x - 4} ${low}h8M${x - 4} ${high}h8"/><circle cx="${x}" cy="${middle}" r="4.5"/></g>`;
}

function legend(chart: Chart): Html {
  const hasMarks = (chart.marks ?? []).length > 0;
  if (chart.series.length < 2 && !hasMarks) return html``;
  const swatches = chart.series.map(
    ({ name }, at) =>
      html`<li><svg viewBox="0 0 30 12" width="30" height="12" aria-hidden="true"><path class="line s${at % 6}" d="M1 6H29"/>${marker(at, 15, 6)}</svg>${name}</li>`,
  );
  const mark = html`<li><svg viewBox="0 0 30 12" width="30" height="12" aria-hidden="true"><g class="whisker"><path d="M15 0V12"/><circle cx="15" cy="6" r="4"/></g></svg>held-out tasks, 95 % interval</li>`;
  return html`<ul class="legend">${swatches}${hasMarks ? mark : undefined}</ul>`;
}

function numbersTable(chart: Chart): Html {
  const byName = chart.series.map((series) => new Map(series.points.map((p) => [p.step, p.value])));
  const steps = [...new Set(chart.series.flatMap((s) => s.points.map((p) => p.step)))].sort(
    (a, b) => a - b,
  );
  const rows = steps.map(
    (step) =>
      html`<tr><th scope="row">${step}</th>${byName.map((values) => cell(values.get(step), chart.format))}</tr>`,
  );
  const marks = (chart.marks ?? []).map(({ name, accuracy: { accuracy, low, high } }) => {
    return html`<tr><th scope="row">${name} (held-out)</th><td>${chart.format(accuracy)} (${chart.format(low)}–${chart.format(high)})</td></tr>`;
  });
  return html`<details class="numbers"><summary>Numbers</summary><div class="scroll" tabindex="0" role="region" aria-label="${`Numbers of ${chart.title}`}"><table><thead><tr><th scope="col">Step</th>${chart.series.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows}${marks}</tbody></table></div></details>`;
}

function cell(value: number | undefined, format: Chart['format']): Html {
  return html`<td>${value === undefined ? '–' : format(value)}</td>`;
}

/** Horizontal bars from 0 to 100 %, each with its interval. */
export function barChart(title: string, bars: readonly EvaluationPoint[]): Html {
  if (bars.length === 0) return html``;
  const percent = (share: number) => rounded(100 * share);
  const rows = bars.map(({ name, accuracy: { accuracy, low, high } }, at) => {
    const words = `${percent(accuracy)} %, 95 % interval ${percent(low)} to ${percent(high)} %`;
    const whisker = `M${percent(low)} 5H${percent(high)}M${percent(low)} 2.5V7.5M${percent(high)} 2.5V7.5`;
    const fill = at === 0 ? 'fill first' : 'fill';
    return html`<div class="bar"><span class="name">${name}</span><svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="${`${name}: ${words}`}"><rect class="track" width="100" height="10"/><rect class="${fill}" width="${percent(accuracy)}" height="10"/>
${['halo', 'interval'].map((line) => html`<path class="${line}" vector-effect="non-scaling-stroke" d="${whisker}"/>`)}</svg>
<span class="value"><b>${percent(accuracy).toFixed(1)} %</b> <small>${percent(low).toFixed(1)}–${percent(high).toFixed(1)}</small></span></div>`;
  });
  return html`<figure class="chart bars"><figcaption><b>${title}</b> <span>share of correct answers, with 95 % interval</span></figcaption>${rows}</figure>`;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
