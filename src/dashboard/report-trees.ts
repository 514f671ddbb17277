import type { Run } from '../run/run-store.ts';
import type { SpokenNode } from '../run/tree-records.ts';
import { type Html, html } from './html.ts';

/** The tree of one question, as it was played before a step's training. */
export type ShownTree = {
  readonly step: number;
  readonly prompt: string;
  readonly answer?: string;
  readonly nodes: readonly SpokenNode[];
};

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

/** The section of the report: questions as trees, with what their actions were worth and what became of them. */
export function treesSection(trees: readonly ShownTree[]): Html {
  if (trees.length === 0) return html``;
  return html`<section><h2>Trees of plays</h2><p>The questions that gave most pairs. An action is worth the mean of what follows it; a play’s last one, the play’s grade. Examples were learned as they are, preferred actions against their rejected siblings.</p>
<div class="plays">${trees.map(treeArticle)}</div></section>`;
}

function treeArticle({ step, prompt, answer, nodes }: ShownTree): Html {
  const children = Map.groupBy(nodes, ({ parent }) => parent);
  const reference = answer === undefined ? undefined : html` <span>answer ${answer}</span>`;
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

function shortened(words: string): string {
  return words.length > shownCharacters ? `${words.slice(0, shownCharacters)}…` : words;
}
