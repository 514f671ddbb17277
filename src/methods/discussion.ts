import { readFileSync } from 'node:fs';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Agent, AgentDeclaration, Team } from '../rollout/team.ts';
import { extractAnswer } from '../task/extract-answer.ts';
import { isSameAnswer } from '../task/same-answer.ts';
import { type DiscussionFormat, fillSlots, parseDiscussionFormat } from './discussion-format.ts';

export type DiscussionOptions<Name extends string> = {
  readonly name: string;
  /** Two agents or more; they speak in every turn at the same time. */
  readonly agents: Readonly<Record<Name, AgentDeclaration>>;
  /** Answers of each agent: the first alone, each later one after reading the others'. Default 3. */
  readonly turns?: number;
  /**
   * `debate` (a transcript per agent, as the published code has), `fresh` (every turn a new conversation that quotes the
   * agent's own answer), or the path of a Markdown file of yours. Default `debate`.
   */
  readonly format?: string;
  /** Whether a later turn goes on with the agent's conversation; default: unless the format quotes the agent's own answer. */
  readonly isTranscript?: boolean;
  /** What `{{others}}` holds: the answers of the turn before, or of all turns so far. Default `latest`. */
  readonly sees?: 'latest' | 'history';
  /** The team's answer: of the agent that is declared last, or the most frequent one. Default `majority`. */
  readonly decides?: 'last' | 'majority';
};

/** Answers of one turn, in the order of the agents. */
type Turn = readonly string[];

/**
 * A team that discusses: every agent answers alone, then all read the others' answers and revise, turn by turn; nobody sees
 * the turn that is under way.
 *
 * @throws BoundaryError("config") for fewer than two agents or one turn, or a format that cannot be read
 * @see Park et al. 2025, arXiv:2502.18439, section 3.1
 */
export function discussionTeam<const Name extends string>(
  options: DiscussionOptions<Name>,
): Team<Name> {
  const { name, agents, turns = 3, decides = 'majority' } = options;
  const names = Object.keys(agents) as Name[];
  if (names.length < 2 || turns < 1) {
    throw new BoundaryError(
      'config',
      `discussion ${name}: expected two agents or more and at least one turn, got ${names.length} and ${turns}`,
    );
  }
  const format = readFormat(options.format ?? 'debate');
  const continues = options.isTranscript ?? !format.later.includes('{{own}}');
  return {
    ...{ name, agents },
    play: async (task, players) => {
      const said: Turn[] = [];
      for (let turn = 0; turn < turns; turn++) {
        const speak = async (agent: Name, index: number) => {
          const place = { task: task.prompt, agent, turn: String(turn + 1), turns: String(turns) };
          const message = messageFor(format, place, { said, index, names, sees: options.sees });
          const player: Agent = players[agent];
          return (await player.act(message, { continue: continues && turn > 0 })).text;
        };
        said.push(await Promise.all(names.map(speak)));
      }
      const last = said.at(-1) ?? [];
      return decides === 'last' ? (last.at(-1) ?? '') : majorityText(last);
    },
  };
}

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
      return fillSlots(format.answer, { agent: names[speaker] ?? '', turn, answer });
    }),
  );
  const own = said.at(-1)?.[index] ?? '';
  return fillSlots(format.later, { ...place, own, others: others.join('\n\n') });
}

/**
 * The text of the first agent whose answer is the most frequent one. Answers that are equal as a grader reads them count
 * as one; a text without an answer has no vote. With no vote at all it is the last agent's text.
 */
export function majorityText(texts: readonly string[]): string {
  const parties: { readonly answer: string; readonly text: string; votes: number }[] = [];
  for (const text of texts) {
    const answer = extractAnswer(text);
    if (answer === undefined) continue;
    const party = parties.find((one) => isSameAnswer(one.answer, answer));
    if (party === undefined) parties.push({ answer, text, votes: 1 });
    else party.votes += 1;
  }
  const most = Math.max(0, ...parties.map(({ votes }) => votes));
  return parties.find(({ votes }) => votes === most)?.text ?? texts.at(-1) ?? '';
}
