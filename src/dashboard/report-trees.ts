import type { Run } from '../run/run-store.ts';
import type { SpokenNode } from '../run/tree-records.ts';
import type { Metrics } from '../types/metrics.ts';
import { type Html, html } from './html.ts';

/** The tree of one question, as it was played before a step's training. */
export type ShownTree = {
  readonly step: number;
  readonly prompt: string;
  readonly answer?: string;
  readonly nodes: readonly SpokenNode[];
};

/** What one agent was trained on in one round, and how that went: area of a metric → value, where it was measured. */
export type Lesson = { readonly round: number; readonly agent: string; readonly values: Metrics };

/** Area of a metric, the head of its column with the unit, and how it is shown. */
const lessonColumns: readonly (readonly [string, string, (value: number) => string])[] = [
  ['actions', 'Actions', String],
  ['positive', 'Positive', (share) => percentOf(share)],
  ['examples', 'Examples', String],
  ['sft-loss', 'SFT loss, nats per token', (nats) => nats.toFixed(3)],
  ['pairs', 'Pairs', String],
  ['dpo-accuracy', 'Pairs told right', (share) => percentOf(share)],
  ['chosen-log-ratio', 'Preferred, nats per answer', signed],
  ['rejected-log-ratio', 'Rejected, nats per answer', signed],
];

/** So many of the questions that gave most pairs are shown for the first round and for the last. */
const shownTrees = 2;
/** Words of a node are cut off here; all of them are in the run store. */
const shownCharacters = 400;

/** Empty where the run grew no trees. */
export function gatherTrees(run: Run, steps: readonly number[]): readonly ShownTree[] {
  if (run.trees.isEmpty) return [];
  const grown = steps.filter((step) => run.trees.liveliest(step, 1).length > 0);
  const chosen = new Set([...grown.slice(0, 1), ...grown.slice(-1)]);
  return [...chosen].flatMap((step) =>
    run.trees.liveliest(step, shownTrees).map((taskId) => {
      const task = run.rescores.task(taskId);
      const nodes = run.trees.treeOf(step, taskId);
      const { prompt = taskId, answer } = task ?? {};
      return { step, prompt, nodes, ...(answer === undefined ? {} : { answer }) };
    }),
  );
}

/** Every agent's part of every round; a round begins with the step that grew trees. Empty where the run grew none. */
export function gatherLessons(
  steps: readonly { readonly metrics: Metrics }[],
  agents: readonly string[],
): readonly Lesson[] {
  const rounds: Metrics[] = [];
  for (const { metrics } of steps) {
    const before = metrics.questions === undefined ? rounds.pop() : undefined;
    if (before !== undefined || metrics.questions !== undefined)
      rounds.push({ ...before, ...metrics });
  }
  return rounds.flatMap((metrics, index) =>
    agents.map((agent) => {
      const values = lessonColumns.flatMap(([area]) => {
        const value = metrics[`${area}/${agent}`];
        return value === undefined ? [] : [[area, value] as const];
      });
      return { round: index + 1, agent, values: Object.fromEntries(values) };
    }),
  );
}

function lessonsTable(lessons: readonly Lesson[]): Html {
  if (lessons.length === 0) return html``;
  const heads = lessonColumns.map(([, head]) => html`<th scope="col">${head}</th>`);
  const rows = lessons.map(({ round, agent, values }) => {
    const cells = lessonColumns.map(([area, , show]) => {
      const value = values[area];
      return html`<td>${value === undefined ? '–' : show(value)}</td>`;
    });
    return html`<tr><th scope="row">${round}</th><td>${agent}</td>${cells}</tr>`;
  });
  return html`<p class="above">What each agent learned from: positive actions as examples (SFT), then pairs of siblings (DPO). The last two columns are how much more probable its answers became by DPO.</p><div class="scroll" tabindex="0" role="region" aria-label="What was learned from the trees"><table class="lessons"><thead><tr><th scope="col">Round</th><th scope="col">Agent</th>${heads}</tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

/** The section of the report: questions as trees, with what their actions were worth and what became of them. */
export function treesSection({
  trees,
  lessons,
}: {
  readonly trees: readonly ShownTree[];
  readonly lessons: readonly Lesson[];
}): Html {
  if (trees.length === 0) return html``;
  return html`<section><h2>Trees of plays</h2><p>An action is worth the mean of what follows it; a play’s last one, the play’s grade (or the points of a coach who judges the leaves). Examples were learned as they are, preferred actions against their rejected siblings.</p>
${lessonsTable(lessons)}<h3>The questions that gave most pairs</h3><div class="plays">${trees.map(treeArticle)}</div></section>`;
}

function treeArticle({ step, prompt, answer, nodes }: ShownTree): Html {
  const children = Map.groupBy(nodes, ({ parent }) => parent);
  const reference = answer === undefined ? undefined : html`, right answer ${answer}`;
  return html`<article class="play"><header><h3>Step ${step}: ${shortened(prompt)}</h3><p>${nodes.length} actions${reference}</p></header>
<ol class="tree">${childrenOf(undefined, children)}</ol></article>`;
}

type Children = ReadonlyMap<string | undefined, readonly SpokenNode[]>;

function childrenOf(parent: string | undefined, children: Children): readonly Html[] {
  return (children.get(parent) ?? []).map((node) => {
    const below = childrenOf(node.actionId, children);
    const words = html`<code>${shortened(node.text)}</code>`;
    const line = html`<b class="points ${levelOf(node.value)}">${percentOf(node.value)}</b> <span>${node.agent}</span> ${words} ${fates(node)}`;
    if (below.length === 0) return html`<li>${line}</li>`;
    return html`<li><details open><summary>${line}</summary><ol>${below}</ol></details></li>`;
  });
}

function fates({ dropped, preferred, rejected }: SpokenNode): readonly Html[] {
  const times = (count: number) => (count === 1 ? '' : ` × ${count}`);
  return [
    ...(dropped === undefined ? [html`<small>example</small> `] : []),
    ...(preferred > 0 ? [html`<small>preferred${times(preferred)}</small> `] : []),
    ...(rejected > 0 ? [html`<small>rejected${times(rejected)}</small> `] : []),
    ...(dropped === undefined || dropped === 'at-most-threshold'
      ? []
      : [html`<small>not used: ${dropped}</small> `]),
  ];
}

function levelOf(value: number): string {
  if (value > 0.5) return 'high';
  return value > 0 ? 'middle' : 'low';
}

function percentOf(value: number): string {
  return `${Math.round(100 * value)} %`;
}

function signed(nats: number): string {
  return `${nats < 0 ? '−' : '+'}${Math.abs(nats).toFixed(2)}`;
}

function shortened(words: string): string {
  return words.length > shownCharacters ? `${words.slice(0, shownCharacters)}…` : words;
}
