import { readFileSync } from 'node:fs';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Agent, AgentDeclaration, Team } from '../rollout/team.ts';
import { extractAnswer } from '../task/extract-answer.ts';
import { isSameAnswer } from '../task/same-answer.ts';
import type { Task } from '../types/task.ts';
import { type DiscussionFormat, fillSlots, parseDiscussionFormat } from './discussion-format.ts';

export type DiscussionOptions<Name extends string, ToolName extends string = string> = {
  readonly name: string;
  /** Two agents or more; they speak in every turn at the same time. */
  readonly agents: Readonly<Record<Name, AgentDeclaration<ToolName>>>;
  /** Answers of each agent: the first alone, each later one after reading the others'. Default 3. */
  readonly turns?: number;
  /**
   * `debate` (a transcript per agent, as the published code has), `fresh` (every turn a new conversation that quotes the
   * agent's own answer), or the path of a Markdown file of yours. Default `debate`.
   */
  readonly format?: string;
  /** Whether a later turn goes on with the agent's conversation; default: unless the format quotes the agent's own answer. */
  readonly isTranscript?: boolean;
  /** What `{{task}}` holds for an agent, where not everybody is told the same. Default: the prompt. */
  readonly taskFor?: (task: Task, agent: Name) => string;
  /** What `{{others}}` holds: the answers of the turn before, or of all turns so far. Default `latest`. */
  readonly sees?: 'latest' | 'history';
  /** Whether the coach's score of every answer is shown with it. Default false. */
  readonly showScores?: boolean;
  /**
   * The team's answer: of the agent that is declared last, the most frequent one, or the one whose answers the coach gives
   * the most points together. Default `majority`.
   */
  readonly decides?: 'last' | 'majority' | 'weighted';
};

/** What an agent answered; `score` is the coach's, 0 to 10, where it was asked and gave one. */
export type ScoredText = { readonly text: string; readonly score?: number };

/** Answers of one turn, in the order of the agents. */
type Turn = readonly ScoredText[];

/**
 * A team that discusses: every agent answers alone, then all read the others' answers and revise, turn by turn; nobody sees
 * the turn that is under way.
 *
 * @throws BoundaryError("config") for fewer than two agents or one turn, or a format that cannot be read
 * @see Park et al. 2025, arXiv:2502.18439, section 3.1
 */
export function discussionTeam<const Name extends string, const ToolName extends string = never>(
  options: DiscussionOptions<Name, ToolName>,
): Team<Name, ToolName, never> {
  const { name, agents, turns = 3, decides = 'majority', showScores = false } = options;
  const names = Object.keys(agents) as Name[];
  if (names.length < 2 || turns < 1) {
    throw new BoundaryError(
      'config',
      `discussion ${name}: expected two agents or more and at least one turn, got ${names.length} and ${turns}`,
    );
  }
  const format = readFormat(options.format ?? 'debate');
  if (showScores && format.score === undefined) {
    throw new BoundaryError(
      'config',
      `discussion ${name}: showScores needs a format with the heading "# Its score", and ${options.format} has none`,
    );
  }
  const { sees, taskFor = ({ prompt }: Task) => prompt } = options;
  const isWeighted = decides === 'weighted';
  const continues = options.isTranscript ?? !format.later.includes('{{own}}');
  return {
    ...{ name, agents, ...((showScores || isWeighted) && { asksCoach: true }) },
    ...(isWeighted && { weighsVotes: true }),
    play: async (task, players, scene) => {
      const said: Turn[] = [];
      for (let turn = 0; turn < turns; turn++) {
        const speak = async (agent: Name, index: number) => {
          const told = taskFor(task, agent);
          const place = { task: told, agent, turn: String(turn + 1), turns: String(turns) };
          const message = messageFor(format, place, { said, index, names, sees });
          const player: Agent = players[agent];
          return player.act(message, { continue: continues && turn > 0 });
        };
        const acted = await Promise.all(names.map(speak));
        const isScored = turn === turns - 1 ? isWeighted : showScores;
        const scores = isScored ? await Promise.all(acted.map(scene.showScore)) : [];
        said.push(acted.map(({ text }, index) => scoredText(text, scores[index])));
      }
      return decisions[decides](said.at(-1) ?? []);
    },
  };
}

function scoredText(text: string, score: number | undefined): ScoredText {
  return score === undefined ? { text } : { text, score };
}

const decisions = {
  last: (answers) => answers.at(-1)?.text ?? '',
  majority: majorityText,
  weighted: weightedText,
} satisfies Record<string, (answers: Turn) => string>;

const ownFormats = ['debate', 'fresh'];

function readFormat(choice: string): DiscussionFormat {
  const isOwn = ownFormats.includes(choice);
  const place = isOwn ? new URL(`./discussions/${choice}.md`, import.meta.url) : choice;
  let markdown: string;
  try {
    markdown = readFileSync(place, 'utf8');
  } catch (cause) {
    throw new BoundaryError(
      'config',
      `a discussion's format: expected ${ownFormats.join(', ')} or the path of a Markdown file, got ${choice} (${messageOf(cause)})`,
      { cause },
    );
  }
  return parseDiscussionFormat(markdown);
}

function messageFor(
  format: DiscussionFormat,
  place: Readonly<Record<string, string>>,
  heard: {
    readonly said: readonly Turn[];
    readonly index: number;
    readonly names: readonly string[];
    readonly sees: 'latest' | 'history' | undefined;
  },
): string {
  const { said, index, names, sees = 'latest' } = heard;
  if (said.length === 0) return fillSlots(format.first, place);
  const first = sees === 'latest' ? said.length - 1 : 0;
  const others = said.slice(first).flatMap((answers, offset) =>
    answers.flatMap((answer, speaker) => {
      if (speaker === index) return [];
      const turn = String(first + offset + 1);
      return quoted(format, { agent: names[speaker] ?? '', turn }, answer);
    }),
  );
  const own = said.at(-1)?.[index]?.text ?? '';
  return fillSlots(format.later, { ...place, own, others: others.join('\n\n') });
}

/** Another's answer as an agent reads it, with its score below it where it has one. */
function quoted(
  format: DiscussionFormat,
  place: Readonly<Record<string, string>>,
  { text, score }: ScoredText,
): string {
  const answer = fillSlots(format.answer, { ...place, answer: text });
  if (score === undefined || format.score === undefined) return answer;
  const words = { score: (score / 10).toFixed(3), grade: gradeOf(score / 10) };
  return `${answer}\n${fillSlots(format.score, { ...place, ...words })}`;
}

/** The bands of the published code. */
function gradeOf(verdict: number): string {
  if (verdict < 0.3) return 'poor';
  if (verdict < 0.6) return 'doubtful';
  return verdict < 0.8 ? 'good' : 'very good';
}

/**
 * The text of the first agent whose answer is the most frequent one. Answers that are equal as a grader reads them count
 * as one; a text without an answer has no vote. With no vote at all it is the last agent's text.
 */
export function majorityText(texts: readonly ScoredText[]): string {
  return heaviest(texts.map(({ text }) => ({ text, weight: 1 }))) ?? texts.at(-1)?.text ?? '';
}

/**
 * The same with every vote weighing its score. Texts without a score have no vote; where none with an answer has a score, it
 * is the majority's text.
 */
export function weightedText(texts: readonly ScoredText[]): string {
  const votes = texts.flatMap(({ text, score }) => {
    return score === undefined ? [] : { text, weight: score };
  });
  return heaviest(votes) ?? majorityText(texts);
}

type Vote = { readonly text: string; readonly weight: number };

/** The first text of the answer that weighs most, of several the one that was given first; undefined without an answer. */
function heaviest(votes: readonly Vote[]): string | undefined {
  const parties: { readonly answer: string; readonly text: string; weight: number }[] = [];
  for (const { text, weight } of votes) {
    const answer = extractAnswer(text);
    if (answer === undefined) continue;
    const party = parties.find((one) => isSameAnswer(one.answer, answer));
    if (party === undefined) parties.push({ answer, text, weight });
    else party.weight += weight;
  }
  const most = Math.max(0, ...parties.map(({ weight }) => weight));
  return parties.find(({ weight }) => weight === most)?.text;
}
