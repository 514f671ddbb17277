import type { WorkspaceFiles } from '../types/sandbox.ts';
import type { Task } from '../types/task.ts';
import type { Action } from '../types/trajectory.ts';

/** What one agent is: its role, its limits and the tools it may call. */
export type AgentDeclaration<ToolName extends string = string> = {
  /** The role's name as a coach reads it, for example `Code Executor`. */
  readonly role: string;
  /** System message of every conversation of this agent; absent = none. */
  readonly instructions?: string;
  /** Most tokens one action may have. */
  readonly maxTokens: number;
  /** Texts that end an action once it holds one of them, which stays part of it. */
  readonly stopStrings?: readonly string[];
  /** Most actions one `act` may take: an action that calls a tool is followed by another. Default 1. */
  readonly maxTurns?: number;
  /** Names of tools, for example `python`. */
  readonly tools?: readonly ToolName[];
};

/** What an agent did when it was asked. */
export type ActResult = {
  /** The text of the last action. */
  readonly text: string;
  /** What the last tool call returned, if any tool ran. */
  readonly toolOutput?: string;
  readonly actions: readonly Action[];
};

export type ActOptions = { readonly continue?: boolean; readonly maxTurns?: number };

/** An agent inside a play. */
export type Agent = {
  /**
   * Asks the agent in a new conversation, or, with `continue`, in the one it had in this play.
   *
   * @param options.maxTurns fewer actions than its declaration allows
   *
   * @throws BoundaryError when the policy or our side of a tool fails; the play is then recorded as failed
   */
  readonly act: (message: string, options?: ActOptions) => Promise<ActResult>;
};

/** What a play has besides its agents. */
export type Scene = {
  /** The files that the agents' programs share, as they are now; gone when the play is over. */
  readonly files: WorkspaceFiles;
  /**
   * Waits for the coach's words on what an agent did last, for an agent that is to read them. A play that is resumed is
   * shown the same words again.
   *
   * @returns undefined where there is no verdict, and where no coach is asked, as in an evaluation of a team without
   * `asksCoach`
   */
  readonly showFeedback: (acted: ActResult) => Promise<string | undefined>;
  /** The same for the coach's points alone, 0 to 10. */
  readonly showScore: (acted: ActResult) => Promise<number | undefined>;
};

/**
 * Agents and how they play one task.
 *
 * The types of its agents' names, of the tools that these ask for and of the names of its variants' agents are what a
 * config is checked against in an editor.
 */
export type Team<
  Name extends string = string,
  ToolName extends string = string,
  VariantName extends string = string,
> = {
  readonly name: string;
  readonly agents: Readonly<Record<Name, AgentDeclaration<ToolName>>>;
  /**
   * Whether plays rest on the coach's verdicts: then it is asked about what they ask for in evaluations, too, and where the
   * run's method needs no coach. Default false.
   */
  readonly asksCoach?: boolean;
  /**
   * Whether the coach's scores of the agents' last answers weigh the team's vote: then plays in which none has one are counted.
   * Default false.
   */
  readonly weighsVotes?: boolean;
  /** Plays one task and resolves to the team's answer; an ordinary function, run many times at once. */
  readonly play: (
    task: Task,
    agents: Readonly<Record<Name, Agent>>,
    scene: Scene,
  ) => Promise<string>;
  /** Other ways to play the same tasks, by name, for comparison: a run takes one with its key `variant`. */
  readonly variants?: Readonly<
    Record<string, Team & { readonly agents: Readonly<Partial<Record<VariantName, unknown>>> }>
  >;
};

/** Declares a team; only fixes the types, so that `play` knows the agents by name. Names may hold letters, digits, `_`, `-`, `.` and blanks. */
export function defineTeam<
  const Name extends string,
  const ToolName extends string = never,
  const VariantName extends string = never,
>(team: Team<Name, ToolName, VariantName>): Team<Name, ToolName, VariantName> {
  return team;
}

/** The agents' names in the order of their declaration. */
export function agentNames(team: Team): readonly string[] {
  return Object.keys(team.agents);
}
