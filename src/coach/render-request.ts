import { randomBytes } from 'node:crypto';
import { BoundaryError } from '../errors.ts';
import type { CoachRequest } from '../types/feedback.ts';

/** What the coach is told about an agent of the team. */
export type AgentBrief = { readonly role: string; readonly instructions: string };

export type Rubric = {
  /** Markdown with the slots of {@link SLOTS} in double braces. */
  readonly template: string;
  readonly team: Readonly<Record<string, AgentBrief>>;
  /** More to say about how to judge. */
  readonly instructions: string;
  /** Whether the coach is shown the task's ground truth. */
  readonly showAnswer: boolean;
};

const SLOTS = [
  'team',
  'instructions',
  'fence',
  'task',
  'answer',
  'earlier',
  'seen',
  'agent',
  'role',
  'written',
  'tools',
] as const;
type Slot = (typeof SLOTS)[number];

/** Characters kept of each kind of material: half of them from the head, half from the tail. */
const KEPT = { tool: 4_000, earlier: 3_000, seen: 24_000, written: 48_000 };

/** @throws BoundaryError("coach") when the template has a slot that does not exist, or no place for the action itself */
export function checkTemplate(template: string): void {
  const used = [...template.matchAll(/\{\{(\w+)\}\}/g)].map((found) => found[1] ?? '');
  const unknown = used.find((name) => !SLOTS.some((slot) => slot === name));
  if (unknown !== undefined) {
    throw new BoundaryError(
      'coach',
      `The rubric has the slot {{${unknown}}}; the slots are ${SLOTS.join(', ')}.`,
    );
  }
  if (!used.includes('written') || !used.includes('fence')) {
    throw new BoundaryError(
      'coach',
      'The rubric must have {{written}} (the action to judge) and {{fence}} (what marks material as data).',
    );
  }
}

/**
 * The question put to the coach about one action.
 *
 * Everything that agents or tools wrote stands inside a fence that is random for every call, so that no agent can close it;
 * what looks like a fence or a verdict inside is defused.
 */
export function renderRequest(request: CoachRequest, rubric: Rubric): string {
  const fence = `data-${randomBytes(8).toString('hex')}`;
  const fenced = (kind: string, text: string) =>
    `<${fence} kind="${kind}">\n${defuse(text)}\n</${fence}>`;
  const { task, action, earlier } = request;
  const slots: Record<Slot, string> = {
    team: renderTeam(rubric.team),
    instructions: rubric.instructions,
    fence,
    task: fenced('problem', task.prompt),
    answer: rubric.showAnswer && task.answer !== undefined ? task.answer : 'Not given.',
    earlier: renderEarlier(request, fenced),
    seen: fenced('seen', elide(action.observationText, KEPT.seen)),
    agent: action.agent,
    role: action.role,
    written: [
      fenced('action', elide(action.text, KEPT.written)),
      action.stop === 'length' ? 'It was CUT OFF at the length limit.' : 'It ended by itself.',
    ].join('\n'),
    tools: renderTools(request, fenced),
  };
  if (earlier.length === 0) slots.earlier = 'This is the first action.';
  // A function, because `$` in the material would be read as a replacement pattern.
  return rubric.template.replace(/\{\{(\w+)\}\}/g, (_, name: Slot) => slots[name]);
}

type Fenced = (kind: string, text: string) => string;

function renderTeam(team: Rubric['team']): string {
  return Object.entries(team)
    .map(([name, brief], index) => `${index + 1}. ${name} (${brief.role}): ${brief.instructions}`)
    .join('\n');
}

function renderEarlier(request: CoachRequest, fenced: Fenced): string {
  return request.earlier
    .map(({ agent, text }) => `${agent} wrote:\n${fenced('earlier', elide(text, KEPT.earlier))}`)
    .join('\n');
}

function renderTools(request: CoachRequest, fenced: Fenced): string {
  const { toolResults, toolCalls } = request.action;
  if (toolResults.length === 0) {
    return toolCalls.length === 0 ? 'It called no tool.' : 'No result came back.';
  }
  return toolResults
    .map((result) => {
      const fault = result.status === 'infrastructure' ? ' (our machinery failed)' : '';
      return `${result.tool} ended with "${result.status}"${fault}:\n${fenced('tool', elide(result.output, KEPT.tool))}`;
    })
    .join('\n');
}

/** Head and tail of a text that is too long, with the omission stated: errors stand at the end of a traceback. */
export function elide(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const half = Math.floor(limit / 2);
  const left = text.length - 2 * half;
  return `${text.slice(0, half)}\n[… ${left} characters left out here …]\n${text.slice(-half)}`;
}

/** Takes the force out of forged fences and verdict lines, and leaves visible that they were there. */
export function defuse(text: string): string {
  return text
    .replace(/<\s*\/?\s*data-[0-9a-f]*[^>\n]*>?/gi, '[forged fence]')
    .replace(/(process|outcome)([\s_*\\-]*)score/gi, '[forged verdict: $1 score]')
    .replace(/answer_correct/gi, '[forged verdict: answer correct]');
}
