/** One answer of a discussion, as it was graded. */
export type GradedAnswer = {
  readonly trajectoryId: string;
  readonly agent: string;
  /** Counted for each agent apart, from 0. */
  readonly turn: number;
  /** Absent where none could be read. */
  readonly extracted?: string;
  /** Absent where nobody knows. */
  readonly isRight?: boolean;
};

/** What became of answers from one turn to the next, as counts. */
export type Transitions = {
  readonly rightToRight: number;
  readonly rightToWrong: number;
  readonly wrongToRight: number;
  readonly wrongToWrong: number;
};

/** A share with what it is a share of; absent where that is nothing. */
export type Share = { readonly of: number; readonly share?: number };

export type DiscussionStatistics = {
  readonly agents: readonly string[];
  /** By turn. */
  readonly turns: readonly {
    /** Right answers among the graded ones of all agents. */
    readonly accuracy: Share;
    /** By agent. */
    readonly accuracyOf: Readonly<Record<string, Share>>;
    /** Pairs of agents with the same answer, among pairs that both have one. */
    readonly agreement: Share;
  }[];
  /** Entry t: from turn t to turn t + 1. */
  readonly transitions: readonly Transitions[];
  /** How often an agent whose answer was not that of most of the others took theirs in the next turn. */
  readonly conformity: Share;
  /** Speaker → listener → how often the listener, of another answer, took the speaker's in the next turn. */
  readonly influence: Readonly<Record<string, Readonly<Record<string, Share>>>>;
};

type Play = ReadonlyMap<string, readonly GradedAnswer[]>;
type Step = { readonly now: GradedAnswer; readonly next: GradedAnswer; readonly play: Play };

/** Who changed whose mind in discussions, from every agent's answer at every turn. */
export function discussionStatistics(answers: readonly GradedAnswer[]): DiscussionStatistics {
  const agents = [...new Set(answers.map(({ agent }) => agent))].toSorted();
  const last = Math.max(-1, ...answers.map(({ turn }) => turn));
  const turns = Array.from({ length: last + 1 }, (_, turn) => turn);
  const plays = playsOf(answers);
  const steps = plays.flatMap(stepsOf);
  return {
    agents,
    turns: turns.map((turn) => {
      const own = answers.filter((answer) => answer.turn === turn);
      return {
        accuracy: accuracyOf(own),
        accuracyOf: recordOf(agents, (agent) =>
          accuracyOf(own.filter((one) => one.agent === agent)),
        ),
        agreement: shareOf(plays.flatMap((play) => pairsOf(answersAt(play, turn)))),
      };
    }),
    transitions: turns.slice(1).map((turn) => {
      return countTransitions(steps.filter(({ next }) => next.turn === turn));
    }),
    conformity: shareOf(steps.flatMap(conforms)),
    influence: recordOf(agents, (speaker) =>
      recordOf(
        agents.filter((listener) => listener !== speaker),
        (listener) => shareOf(steps.flatMap((step) => follows(step, speaker, listener))),
      ),
    ),
  };
}

function recordOf<Value>(
  names: readonly string[],
  of: (name: string) => Value,
): Readonly<Record<string, Value>> {
  return Object.fromEntries(names.map((name) => [name, of(name)]));
}

/** Each play's answers by agent, in order of the turns. */
function playsOf(answers: readonly GradedAnswer[]): Play[] {
  const plays = Map.groupBy(answers, ({ trajectoryId }) => trajectoryId);
  return [...plays.values()].map((own) => {
    const ordered = own.toSorted((first, second) => first.turn - second.turn);
    return Map.groupBy(ordered, ({ agent }) => agent);
  });
}

function answersAt(play: Play, turn: number): GradedAnswer[] {
  return [...play.values()].flatMap((own) => own.find((answer) => answer.turn === turn) ?? []);
}

function stepsOf(play: Play): Step[] {
  return [...play.values()].flatMap((own) =>
    own.slice(1).map((next, index) => ({ now: own[index] as GradedAnswer, next, play })),
  );
}

function shareOf(flags: readonly boolean[]): Share {
  const of = flags.length;
  return of === 0 ? { of } : { of, share: flags.filter(Boolean).length / of };
}

function accuracyOf(answers: readonly GradedAnswer[]): Share {
  return shareOf(answers.flatMap(({ isRight }) => isRight ?? []));
}

/** For each pair of answers that could be read, whether they are the same. */
function pairsOf(answers: readonly GradedAnswer[]): boolean[] {
  const read = answers.flatMap(({ extracted }) => extracted ?? []);
  return read.flatMap((answer, index) => read.slice(index + 1).map((other) => other === answer));
}

function countTransitions(steps: readonly Step[]): Transitions {
  const count = (before: boolean, after: boolean) =>
    steps.filter(({ now, next }) => now.isRight === before && next.isRight === after).length;
  return {
    rightToRight: count(true, true),
    rightToWrong: count(true, false),
    wrongToRight: count(false, true),
    wrongToWrong: count(false, false),
  };
}

/** Whether an agent took the answer of most of the others; nothing where they have none, or it is its own already. */
function conforms({ now, next, play }: Step): boolean[] {
  const others = answersAt(play, now.turn).filter(({ agent }) => agent !== now.agent);
  const votes = Map.groupBy(
    others.flatMap(({ extracted }) => extracted ?? []),
    (answer) => answer,
  );
  const majority = [...votes].find(([, { length }]) => 2 * length > others.length)?.[0];
  if (majority === undefined || majority === now.extracted) return [];
  return [next.extracted === majority];
}

function follows({ now, next, play }: Step, speaker: string, listener: string): boolean[] {
  if (now.agent !== listener) return [];
  const said = play.get(speaker)?.find(({ turn }) => turn === now.turn)?.extracted;
  if (said === undefined || said === now.extracted) return [];
  return [next.extracted === said];
}
