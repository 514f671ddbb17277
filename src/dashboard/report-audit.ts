import { type Agreement, agreementOf } from '../run/agreement.ts';
import { type Audit, type AuditedAgent, auditOf, type Slice } from '../run/audit.ts';
import { firstDifference } from '../run/configuration.ts';
import type { Estimate } from '../run/estimate.ts';
import type { SecondCoach } from '../run/rescore-records.ts';
import type { Run } from '../run/run-store.ts';
import { type Html, html } from './html.ts';

/** Verdicts of a second coach beside the first, for one agent. */
type SecondOpinion = {
  readonly label: string;
  /** Who gave them; absent where that was not recorded. */
  readonly coach?: string;
  readonly agent: string;
  /** Whether it is the run's own coach, asked again: then the difference is its noise. */
  readonly isRetest: boolean;
  readonly agreement: Agreement;
};

export type CoachAudit = Audit & { readonly seconds: readonly SecondOpinion[] };

/** What the coach's scores depend on; undefined where nothing was scored. */
export function gatherAudit(run: Run): CoachAudit | undefined {
  const actions = run.auditedActions();
  if (actions.length === 0) return undefined;
  const seconds = run.rescores.labels().flatMap((label) => opinionsUnder(run, label));
  return { ...auditOf(actions), seconds };
}

function opinionsUnder(run: Run, label: string): SecondOpinion[] {
  const second = run.rescores.secondCoach(label);
  const isRetest = second !== undefined && isOwnCoach(run, second);
  return [...run.rescores.pairsWith(label)].map(([agent, pairs]) => ({
    ...{ label, agent, isRetest, agreement: agreementOf(pairs) },
    ...(second === undefined ? {} : { coach: second.coach }),
  }));
}

/** Whether it is the coach that scored the run, asked in the same way. */
function isOwnCoach(run: Run, second: SecondCoach): boolean {
  const config = run.resolvedConfig as Partial<SecondCoach> | undefined;
  const { coaching } = second;
  const first = Object.keys(coaching).map((key) => [key, config?.coaching?.[key]]);
  return (
    second.coach === config?.coach &&
    firstDifference(Object.fromEntries(first), coaching) === undefined
  );
}

/** The section of the report. */
export function auditSection(audit: CoachAudit | undefined): Html {
  if (audit === undefined) return html``;
  return html`<section><h2>Can the coach be trusted?</h2><p>Points of the scored training actions, with 95 % intervals by bootstrap over tasks. A good coach’s scores go with right answers and depend on little else.</p>
${alarmList(audit)}${table('Scores by agent', ['Agent', 'Actions', 'Mean score', 'Correlation with right answers'], audit.agents.map(agentRow))}
${secondsTable(audit.seconds)}${audit.agents.map((agent) => slicesTable(agent, audit.slices))}</section>`;
}

function alarmList({ alarms }: Audit): Html {
  if (alarms.length === 0)
    return html`<p class="calm">No alarm: scores do not part from right answers.</p>`;
  return html`<ul class="alarms" role="list">${alarms.map(({ text }) => html`<li><b>Alarm</b> ${text}.</li>`)}</ul>`;
}

function agentRow({ agent, actions, mean, correlation }: AuditedAgent): Html {
  return html`<tr><th scope="row">${agent}</th><td>${actions}</td><td>${shown(mean)}</td><td>${shown(correlation)}</td></tr>`;
}

function slicesTable({ agent, mean }: AuditedAgent, slices: readonly Slice[]): Html {
  const own = slices.filter((slice) => slice.agent === agent);
  if (own.length === 0) return html``;
  const names = { tag: 'task tag', tokens: 'tokens', outcome: 'answer' } as const;
  const rows = own.map((slice) => {
    const change = mean === undefined ? '–' : signed(slice.mean.value - mean.value);
    return html`<tr><th scope="row"><span class="by">${names[slice.by]}</span> ${slice.name}</th><td>${slice.actions}</td><td>${shown(slice.mean)}</td><td>${change}</td></tr>`;
  });
  return html`<details class="slices"><summary>${agent}: by task tag, length and outcome</summary>${table(`Scores of ${agent}`, ['Actions with', 'Actions', 'Mean score', 'To its mean'], rows)}</details>`;
}

function secondsTable(seconds: readonly SecondOpinion[]): Html {
  if (seconds.length === 0) return html``;
  const rows = seconds.map(({ label, coach = label, agent, isRetest, agreement }) => {
    const name = coach === label ? coach : `${coach} (${label})`;
    const what = isRetest ? `${coach} asked again (${label}): its noise` : name;
    return html`<tr><th scope="row">${what}</th><td>${agent}</td><td>${agreement.pairs}</td><td>${shown(agreement.pearson)}</td><td>${shown(agreement.meanAbsoluteDifference)}</td><td>${shown(agreement.withinOnePoint)}</td></tr>`;
  });
  return html`<h3>Second verdicts</h3>${table('Second verdicts', ['Coach', 'Agent', 'Actions', 'Correlation', 'Mean difference', 'Within a point'], rows)}`;
}

function table(label: string, columns: readonly string[], rows: readonly Html[]): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table><thead><tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>`;
}

/** A value with its interval; a dash where it does not exist. */
function shown(estimate: Estimate | undefined): Html {
  if (estimate === undefined) return html`–`;
  const { value, low, high } = estimate;
  const interval =
    low === undefined || high === undefined
      ? undefined
      : html` <small>${low.toFixed(2)} to ${high.toFixed(2)}</small>`;
  return html`<b>${value.toFixed(2)}</b>${interval}`;
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`;
}
