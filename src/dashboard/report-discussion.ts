import type { Share, Transitions } from '../run/discussion-statistics.ts';
import { lineChart } from './chart.ts';
import type { Discussions, Moment } from './discussion-numbers.ts';
import { type Html, html } from './html.ts';

/** The section of the report: who changed whose mind. */
export function discussionSection(discussions: Discussions | undefined): Html {
  if (discussions === undefined) return html``;
  const { moments, accuracy, agreement, changes } = discussions;
  const format = (value: number) => `${Number((100 * value).toFixed(1))} %`;
  const range = [0, 1] as const;
  const charts = [
    lineChart({
      title: 'Accuracy by turn',
      unit: 'right answers of all agents',
      series: accuracy,
      range,
      format,
    }),
    lineChart({
      title: 'Agreement by turn',
      unit: 'pairs of agents with the same answer',
      series: agreement,
      range,
      format,
    }),
    lineChart({
      title: 'Changed minds',
      unit: 'share of answers that had one before',
      series: changes,
      range,
      format,
    }),
  ];
  const last = moments.at(-1) as Moment;
  return html`<section><h2>Who changed whose mind</h2><p>Every agent’s answer at every turn, graded by rule. Changes from wrong to right mean little beside a first turn that got worse: read them with the accuracies.</p>
<div class="charts">${charts}</div>${turnsTable(moments)}${changesTable(moments)}${influenceTable(last)}</section>`;
}

function turnsTable(moments: readonly Moment[]): Html {
  const rows = moments.flatMap(({ name, statistics: { agents, turns } }) =>
    turns.map(({ accuracy, accuracyOf, agreement }, turn) => [
      name,
      `${turn + 1}`,
      cell(accuracy),
      ...agents.map((agent) => cell(accuracyOf[agent])),
      cell(agreement),
    ]),
  );
  const agents = moments.at(-1)?.statistics.agents ?? [];
  return table('Turn by turn', ['When', 'Turn', 'All right', ...agents, 'Pairs that agree'], rows);
}

function changesTable(moments: readonly Moment[]): Html {
  const rows = moments.flatMap(({ name, statistics }) =>
    statistics.transitions.map((transitions, turn) => [
      name,
      `${turn + 1} → ${turn + 2}`,
      ...sharesOf(transitions),
      turn === 0 ? cell(statistics.conformity) : '',
    ]),
  );
  const heads = ['Right → right', 'Right → wrong', 'Wrong → right', 'Wrong → wrong'];
  return table('From turn to turn', ['When', 'Turns', ...heads, 'Gave in to most others'], rows);
}

function sharesOf(transitions: Transitions): string[] {
  const { rightToRight, rightToWrong, wrongToRight, wrongToWrong } = transitions;
  const counts = [rightToRight, rightToWrong, wrongToRight, wrongToWrong];
  const all = counts.reduce((sum, one) => sum + one, 0);
  return counts.map((one) => (all === 0 ? '–' : `${((100 * one) / all).toFixed(1)} %`));
}

function influenceTable({ name, statistics: { agents, influence } }: Moment): Html {
  const rows = agents.map((speaker) => [
    speaker,
    ...agents.map((listener) => (speaker === listener ? '' : cell(influence[speaker]?.[listener]))),
  ]);
  return table(
    `Whose answer was taken (${name}): of the times they differed, how often the agent above took the answer of the agent on the left`,
    ['Speaker', ...agents],
    rows,
  );
}

function cell(share: Share | undefined): string {
  if (share?.share === undefined) return '–';
  return `${(100 * share.share).toFixed(1)} % of ${share.of}`;
}

function table(
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): Html {
  return html`<p class="above">${caption}</p><div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${rows.map(([first = '', ...cells]) => html`<tr><th scope="row">${first}</th>${cells.map((text) => html`<td>${text}</td>`)}</tr>`)}</tbody></table></div>`;
}
