import { BoundaryError } from '../errors.ts';
import { opensThought, type SplitText, splitThinking } from '../tools/split-thinking.ts';
import type { CoachRequest, Outcome } from '../types/feedback.ts';
import type { ToolResult } from '../types/tool.ts';
import type { Action } from '../types/trajectory.ts';
import { defuse, elide, elideItems } from './quote-material.ts';

/** What the coach is told about an agent of the team. */
export type AgentBrief = {
  readonly role: string;
  readonly instructions: string;
  /** Most actions one `act` may take; absent = not told. */
  readonly maxTurns?: number;
};

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
  'outcome',
  'earlier',
  'seen',
  'agent',
  'role',
  'turn',
  'written',
  'tools',
  'files',
  'verdict',
] as const;
type Slot = (typeof SLOTS)[number];

/** Without these there is nothing to judge, nothing that marks material as data, or no reply that can be read. */
const REQUIRED: readonly Slot[] = ['written', 'fence', 'verdict'];

/** Characters kept of each kind of material: half of them from the head, half from the tail. */
const KEPT = {
  task: 24_000,
  tool: 4_000,
  tools: 24_000,
  earlier: 3_000,
  earlierTool: 1_000,
  allEarlier: 40_000,
  files: 4_000,
  seen: 24_000,
  thinking: 24_000,
  said: 24_000,
};

/** @throws BoundaryError("coach") when the template has a slot that does not exist, or lacks one that it must have */
export function checkTemplate(template: string): void {
  const used = [...template.matchAll(/\{\{(\w+)\}\}/g)].map((found) => found[1] ?? '');
  const unknown = used.find((name) => !SLOTS.some((slot) => slot === name));
  if (unknown !== undefined) {
    throw new BoundaryError(
      'coach',
      `The rubric has the slot {{${unknown}}}; the slots are ${SLOTS.join(', ')}.`,
    );
  }
  const missing = REQUIRED.find((slot) => !used.includes(slot));
  if (missing === undefined) return;
  throw new BoundaryError(
    'coach',
    `The rubric lacks {{${missing}}}; it must have {{written}} (the action to judge), {{fence}} (what marks material as data) and {{verdict}} (the form of the reply).`,
  );
}

/** Whether the question about this action holds the reference answer. */
export function isAnswerShown({ task }: CoachRequest, rubric: Rubric): boolean {
  return rubric.showAnswer && task.answer !== undefined;
}

/**
 * The question put to the coach about one action.
 *
 * Everything that agents or tools wrote stands inside the fence, and what looks like a fence or a verdict in it is defused.
 *
 * @param fence a word that nobody who writes the material can know
 */
export function renderRequest(request: CoachRequest, rubric: Rubric, fence: string): string {
  const fenced: Fenced = (kind, text) => `<${fence} kind="${kind}">\n${defuse(text)}\n</${fence}>`;
  const { task, action } = request;
  const slots: Record<Slot, string> = {
    team: renderTeam(rubric.team),
    instructions: rubric.instructions,
    fence,
    task: fenced('problem', elide(task.prompt, KEPT.task)),
    answer: isAnswerShown(request, rubric) ? fenced('answer', task.answer ?? '') : 'Not given.',
    outcome: renderOutcome(request, fenced),
    earlier: renderEarlier(request, fenced),
    seen: fenced('seen', elide(action.observationText, KEPT.seen)),
    agent: action.agent,
    role: action.role,
    turn: renderTurn(request, rubric),
    written: renderWritten(action, fenced),
    tools: renderTools(action, fenced),
    files: renderFiles(request, fenced),
    verdict: renderForm(isAnswerShown(request, rubric)),
  };
  // A function, because `$` in the material would be read as a replacement pattern.
  return rubric.template.replace(/\{\{(\w+)\}\}/g, (_, name: Slot) => slots[name]);
}

/** How the play went on after the action, and what it came to. */
function renderOutcome({ task, outcome, later }: CoachRequest, fenced: Fenced): string {
  if (outcome === undefined && later === undefined) return 'Not given.';
  const actions = (later ?? []).map((action) => renderEarlierAction(action, fenced));
  const after = elideItems(actions, KEPT.allEarlier, 'later actions');
  const grade = outcome === undefined ? [] : [renderGrade(task, outcome, fenced)];
  if (after.length > 0) return [...grade, 'After this action:', ...after].join('\n');
  return [...grade, ...(outcome === undefined ? ['This was the last action.'] : [])].join('\n');
}

function renderGrade(
  { table }: CoachRequest['task'],
  { correct, extracted = '' }: Outcome,
  fenced: Fenced,
): string {
  return table === undefined
    ? `By rule, the team's final answer is ${correct ? 'right' : 'wrong'}.`
    : `By rule, the team's submission ${correct ? 'can be used' : 'cannot be used'}:\n${fenced('grade', extracted)}`;
}

type Fenced = (kind: string, text: string) => string;

function renderTeam(team: Rubric['team']): string {
  return Object.entries(team)
    .map(([name, brief], index) =>
      `${index + 1}. ${name} (${brief.role}): ${brief.instructions}`.replace(/: $/, ''),
    )
    .join('\n');
}

function renderTurn({ action, earlier }: CoachRequest, rubric: Rubric): string {
  const turn = 1 + earlier.filter(({ agent }) => agent === action.agent).length;
  const most = rubric.team[action.agent]?.maxTurns;
  const limit = most === undefined ? '' : `; it may take up to ${most} each time it is asked`;
  return `This is action ${turn} of ${action.agent} in this play${limit}.`;
}

function renderEarlier({ earlier }: CoachRequest, fenced: Fenced): string {
  if (earlier.length === 0) return 'This is the first action.';
  const actions = earlier.map((action) => renderEarlierAction(action, fenced));
  return elideItems(actions, KEPT.allEarlier, 'earlier actions').join('\n');
}

/** An action's thoughts and words; words alone stay as they were written. */
function partsOf({ text, observationText }: Action): SplitText {
  const parts = splitThinking(text, { isThinking: opensThought(observationText) });
  return parts.thinking === undefined ? parts : { ...parts, said: parts.said.trim() };
}

function renderEarlierAction(action: Action, fenced: Fenced): string {
  const { thinking, said } = partsOf(action);
  const left = thinking === undefined ? '' : ' (its thoughts are left out)';
  const results = action.toolResults.map((result) =>
    renderResult(result, { limit: KEPT.earlierTool, fenced }),
  );
  const tools = elideItems(results, KEPT.tool, 'tool results');
  return [
    `${action.agent} wrote${left}:\n${fenced('earlier', elide(said, KEPT.earlier))}`,
    ...tools,
  ].join('\n');
}

function renderWritten(action: Action, fenced: Fenced): string {
  const { thinking, said, isUnfinished } = partsOf(action);
  const thought =
    thinking === undefined
      ? []
      : [
          `Its thoughts, which no other agent sees${isUnfinished ? ' and which it did not finish' : ''}:`,
          fenced('thinking', elide(thinking, KEPT.thinking)),
          'Its words:',
        ];
  return [
    ...thought,
    fenced('action', elide(said, KEPT.said)),
    action.stop === 'length' ? 'It was CUT OFF at the length limit.' : 'It ended by itself.',
  ].join('\n');
}

function renderTools({ toolCalls, toolResults }: Action, fenced: Fenced): string {
  if (toolResults.length === 0) {
    return toolCalls.length === 0 ? 'It called no tool.' : 'No result came back.';
  }
  const results = toolResults.map((result) => renderResult(result, { limit: KEPT.tool, fenced }));
  return elideItems(results, KEPT.tools, 'tool results').join('\n');
}

function renderResult(
  { tool, status, output }: ToolResult,
  how: { readonly limit: number; readonly fenced: Fenced },
): string {
  const fault = status === 'infrastructure' ? ' (our machinery failed)' : '';
  const shown = elide(output, how.limit);
  // The name in a call that was refused can be what an agent made up, so it is material too.
  if (status === 'invalid') {
    return `A call that could not be made:\n${how.fenced('tool', `${tool}: ${shown}`)}`;
  }
  return `${tool} ended with "${status}"${fault}:\n${how.fenced('tool', shown)}`;
}

/** Names, and who wrote them: what the task brought, what earlier actions left, and what this one changed. */
function renderFiles({ task, action, earlier }: CoachRequest, fenced: Fenced): string {
  const names = (list: readonly string[]) =>
    list.length === 0 ? 'none' : elide(list.join('\n'), KEPT.files);
  const brought = Object.keys(task.files ?? {}).map((path) => [path, 'of the task'] as const);
  const before = new Map<string, string>(brought);
  for (const { agent, toolResults } of earlier) {
    for (const { files } of toolResults) {
      for (const { path } of files?.written ?? []) before.set(path, `written by ${agent}`);
      for (const path of files?.removed ?? []) before.delete(path);
    }
  }
  const changes = action.toolResults.flatMap(({ files }) => files ?? []);
  const written = changes.flatMap((files) => files.written.map(({ path }) => path));
  const removed = changes.flatMap((files) => files.removed);
  if (before.size === 0 && written.length === 0) return 'No files.';
  const available = [...before].map(([path, origin]) => `${path} (${origin})`);
  return [
    `Available before this action:\n${fenced('files', names(available))}`,
    `Written by this action:\n${fenced('files', names([...new Set(written)]))}`,
    ...(removed.length === 0
      ? []
      : [`Removed by this action:\n${fenced('files', names(removed))}`]),
  ].join('\n');
}

function renderForm(withAnswer: boolean): string {
  const answer = withAnswer ? ', "answerCorrect": <true, false or null>' : '';
  const line = withAnswer ? ' and one `ANSWER_CORRECT: <0 or 1>`' : '';
  return [
    'Reply with one JSON object and nothing else:',
    `\`{"reason": "<two to four sentences>", "score": <0 to 10>, "blame": "none|self|upstream|tool|task", "upstreamAgent": "<name or null>"${answer}}\``,
    `Write the reason first and let the score follow from it. If you cannot write JSON, write the reason and end with a line of exactly this form: \`PROCESS_SCORE: <0 to 10>\`${line}`,
    ...(withAnswer
      ? [
          '`answerCorrect` says whether the final answer stated in this action equals the reference answer; null if it states none.',
        ]
      : []),
  ].join('\n');
}
