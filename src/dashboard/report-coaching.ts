import type { AgentCalls } from '../run/coach-records.ts';
import type { Run } from '../run/run-store.ts';
import { Html, html } from './html.ts';

/** Who coached, what it was shown and what it cost. */
export type Coaching = {
  readonly coach: string;
  /** Sentences about what the coach saw beyond the agents' work. */
  readonly shown: readonly string[];
  /** Agent → its calls in all training steps. */
  readonly agents: readonly AgentCalls[];
};

/** Undefined for a run without a coach. */
export function gatherCoaching(run: Run): Coaching | undefined {
  const config = run.resolvedConfig;
  const coach = textAt(config, 'coach');
  if (
    coach === undefined ||
    coach === 'none' ||
    textAt(at(config, 'credit'), 'source') === 'outcome'
  )
    return undefined;
  return {
    coach,
    shown: whatWasShown(at(config, 'coaching')),
    agents: run.coachRecords.byAgent(),
  };
}

function whatWasShown(coaching: unknown): string[] {
  const answer = at(coaching, 'showAnswer');
  const of = Array.isArray(answer) ? ` for the actions of ${answer.join(', ')}` : '';
  return [
    answer === true || of !== ''
      ? `It was shown the tasks’ ground truth${of} (coaching.showAnswer).`
      : 'It was shown no ground truth.',
    endsShown(at(coaching, 'showOutcome')),
  ];
}

function endsShown(showOutcome: unknown): string {
  if (showOutcome === true) return 'It was shown how each play ended (coaching.showOutcome).';
  return showOutcome === 'play'
    ? 'It was shown how each play went on, but not what it came to (coaching.showOutcome).'
    : 'It was not shown how a play ended.';
}

function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)[key]
    : undefined;
}

function textAt(value: unknown, key: string): string | undefined {
  const found = at(value, key);
  return typeof found === 'string' ? found : undefined;
}

export function coachingSection(coaching: Coaching | undefined): Html {
  if (coaching === undefined) return html``;
  const { coach, shown, agents } = coaching;
  const table = html`<div class="scroll" tabindex="0" role="region" aria-label="Coach calls per agent"><table class="agents"><thead><tr><th scope="col">Agent</th><th scope="col">Calls</th><th scope="col">From the cache</th><th scope="col">Tokens in</th><th scope="col">Tokens out</th><th scope="col">USD</th></tr></thead>
<tbody>${agents.map(callsRow)}</tbody></table></div>`;
  return html`<section><h2>The coach</h2><p>${coach}. ${shown.join(' ')}</p>
${agents.length === 0 ? new Html('') : table}</section>`;
}

function callsRow(line: Coaching['agents'][number]): Html {
  const count = (value: number) => value.toLocaleString('en-US');
  const known = line.usd?.toFixed(4);
  const most = line.usdUnknown > 0 ? `at most ${line.usdUnknown.toFixed(4)}` : undefined;
  const usd = [known, most].filter((part) => part !== undefined).join(' + ') || '–';
  return html`<tr><th scope="row">${line.agent}</th><td>${count(line.calls)}</td><td>${count(line.cached)}</td><td>${count(line.inputTokens)}</td><td>${count(line.outputTokens)}</td><td>${usd}</td></tr>`;
}
