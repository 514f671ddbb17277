import type { Feedback } from '../types/feedback.ts';
import type { ToolResult } from '../types/tool.ts';
import type { Action } from '../types/trajectory.ts';
import { type Html, html } from './html.ts';
import type { Example } from './report-examples.ts';

/** A tool's output beyond this many characters is cut, and says so. */
const shownCharacters = 4000;

/** One play as it happened: every action, what its tools returned, and what the coach said about it. */
export function transcript(example: Example): Html {
  const { trajectory, outcome } = example;
  const steps = trajectory.actions.map((action) => turn(action, example.feedback.get(action.id)));
  return html`<article class="play"><header><h3>${example.title}</h3><p>${example.why}</p>
<p class="facts"><span>Task <code>${trajectory.taskId}</code></span><span>Play <code>${trajectory.id}</code></span></p></header>
<ol class="turns">${steps}</ol>
<footer>${verdict(outcome?.correct)}<span>Team’s answer: <b>${trajectory.answer === undefined ? 'none' : shortened(trajectory.answer, 300)}</b></span>${outcome?.extracted === undefined ? undefined : html`<span>read as <code>${outcome.extracted}</code></span>`}</footer></article>`;
}

function verdict(isCorrect: boolean | undefined): Html {
  if (isCorrect === undefined) return html`<span class="verdict">not graded</span>`;
  return isCorrect
    ? html`<span class="verdict right">✓ correct</span>`
    : html`<span class="verdict wrong">✗ wrong</span>`;
}

function turn(action: Action, feedback: Feedback | undefined): Html {
  return html`<li class="turn"><div class="who"><b>${action.agent}</b><span>${action.role === action.agent ? undefined : action.role}</span>${points(feedback)}</div>
<pre class="said" tabindex="0" aria-label="${`Text of ${action.agent}`}">${action.text === '' ? '(wrote nothing)' : action.text}</pre>
${action.stop === 'length' ? html`<p class="note">Cut off at the token limit.</p>` : undefined}
${action.toolResults.map(toolResult)}${words(feedback)}
<details class="saw"><summary>What ${action.agent} was shown (${action.observation.length} tokens)</summary><pre tabindex="0">${shortened(action.observationText, shownCharacters)}</pre></details></li>`;
}

function points(feedback: Feedback | undefined): Html {
  if (feedback === undefined) return html``;
  if (feedback.kind === 'unscored') return html`<span class="points none">unscored</span>`;
  const grade = feedback.score >= 7 ? 'high' : feedback.score >= 4 ? 'middle' : 'low';
  const value = Number.isInteger(feedback.score) ? feedback.score : feedback.score.toFixed(1);
  return html`<span class="points ${grade}"><b>${value}</b> / 10</span>`;
}

function toolResult(result: ToolResult): Html {
  return html`<div class="tool"><p><b>${result.tool}</b> · ${result.status} · ${Math.round(result.durationMs)} ms</p><pre tabindex="0" aria-label="${`Output of ${result.tool}`}">${result.output === '' ? '(no output)' : shortened(result.output, shownCharacters)}</pre></div>`;
}

function words(feedback: Feedback | undefined): Html {
  if (feedback === undefined) return html``;
  if (feedback.kind === 'unscored') {
    return html`<blockquote class="coach"><b>Coach:</b> no score, ${feedback.cause}</blockquote>`;
  }
  if (feedback.reason === '' && feedback.blame === 'none') return html``;
  return html`<blockquote class="coach"><b>Coach:</b> ${feedback.reason}${blame(feedback)}</blockquote>`;
}

const blameWords = {
  none: undefined,
  self: 'this agent',
  upstream: 'an earlier agent',
  tool: 'the tool',
  task: 'the task itself',
} as const;

function blame(feedback: Feedback & { readonly kind: 'scored' }): Html {
  const at = feedback.blamedAgent ?? blameWords[feedback.blame];
  return at === undefined ? html`` : html` <span class="blame">Fault: ${at}</span>`;
}

function shortened(text: string, limit: number): string {
  if (text.length <= limit) return text;
  return `${text.slice(0, limit)}\n… ${text.length - limit} more characters are in the run store`;
}
