import { BoundaryError } from '../errors.ts';
import { seedFor } from '../random.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { formatToolResults } from '../tools/format-tool-result.ts';
import type { Clock } from '../types/clock.ts';
import type { CoachRequest } from '../types/feedback.ts';
import type { Message } from '../types/message.ts';
import type { Workspace, WorkspaceFiles, Workspaces } from '../types/sandbox.ts';
import type { Task } from '../types/task.ts';
import type { Tool } from '../types/tool.ts';
import type { SampleFilters, SampleParams, Sampler } from '../types/training-service.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { type Branching, ownerOf } from './branching.ts';
import { tellOfTools } from './describe-tools.ts';
import { startPlayClock } from './play-clock.ts';
import { failureOf, isOfTheRun } from './play-failure.ts';
import { refuseOtherObservation } from './refuse-other-observation.ts';
import { runTools } from './run-tools.ts';
import {
  type ActOptions,
  type ActResult,
  type Agent,
  type AgentDeclaration,
  agentNames,
  type Scene,
  type Team,
} from './team.ts';

/** Everything a play needs that does not differ from task to task. */
export type Stage = {
  readonly team: Team;
  /** Agent name → the sampler of its policy. */
  readonly samplers: ReadonlyMap<string, Sampler>;
  readonly tokenizer: Tokenizer;
  /** Of agents that play another model; absent = none does. */
  readonly ownTokenizers?: ReadonlyMap<string, Tokenizer>;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly workspaces: Workspaces;
  readonly temperature: number;
  readonly filters?: SampleFilters;
  readonly seed: number;
  /** Where in the run: a step (`12`) or an evaluation (`eval:base`). First part of every id and seed. */
  readonly scope: string;
  /** Actions of this scope that an interrupted run had finished: they are not played again. */
  readonly finished: ReadonlyMap<string, Action>;
  /**
   * Makes a task's plays the leaves of a tree: each replays the actions that it shares with an earlier one from
   * `finished`, which must hold them by then. Only for teams whose agents act one after another.
   */
  readonly branching?: Branching;
  /** Called once for each action as it ends, before the play goes on. */
  readonly onAction: (action: Action) => void;
  /**
   * Called once for each action, resumed ones too, as soon as it and all before it have ended: what a coach judges does
   * not change any more.
   */
  readonly onJudgeable?: (request: CoachRequest) => void;
  /** Called when a play has answered, before its files may go; the play has not ended until this has. */
  readonly onAnswer?: (answered: Answered) => Promise<void>;
  /** The coach's verdict on an action, for a play that asks for it. */
  readonly verdictOn: (request: CoachRequest) => Promise<ShownVerdict | undefined>;
  readonly playTimeoutMs: number;
  /** Caps every agent's own limit. */
  readonly maxActionTokens: number;
  /** Of one play: what never ends would otherwise end by the clock, at another action each time. */
  readonly maxActions: number;
  /** Ends all plays when the run stops; what they did not finish is played when the run is resumed. */
  readonly stop: AbortSignal;
};

/** What a play is shown of the coach's verdict on an action. */
export type ShownVerdict = { readonly words: string; readonly score: number };

/** A play with its answer, and its files as they are at its end. */
export type Answered = {
  readonly task: Task;
  readonly trajectory: Trajectory;
  readonly files: WorkspaceFiles;
};

type Conversation = { readonly messages: readonly Message[]; readonly ids: Int32Array };

/** State of one play in progress. */
type Play = {
  readonly stage: Stage;
  readonly id: string;
  readonly task: Task;
  readonly sample: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Ends the play at once, whatever its own code makes of the failure. */
  readonly end: (reason: unknown) => void;
  readonly workspace: Workspace;
  /** Ended actions, in the order in which they ended. */
  readonly actions: Action[];
  /** The id of the action at each position, of those recorded before an interruption too. */
  readonly positions: (string | undefined)[];
  /** How many actions, from the first on, have been given out to be judged. */
  judgeable: number;
};

/**
 * Plays one task once. A play that breaks is returned with its `failure` and what was played so far.
 *
 * @throws the reason of `stage.stop` when the run stops, BoundaryError("run") when the store fails, and BoundaryError("engine")
 * that is retryable when the policies are gone with their server: none is a failure of the play
 */
export async function playTask(stage: Stage, task: Task, sample: number): Promise<Trajectory> {
  const id = playId(stage, task, sample);
  const clock = startPlayClock(stage.playTimeoutMs);
  const ended = new AbortController();
  const signal = AbortSignal.any([clock.deadline, stage.stop, ended.signal]);
  const actions: Action[] = [];
  const path = () => ({ id, taskId: task.id, sample, actions: inOrder(actions) });
  try {
    const workspace = await stage.workspaces.open(id, task.files ?? {});
    const positions = stage.branching ? [] : recordedPositions(stage, id);
    const end = (reason: unknown) => ended.abort(reason);
    const fixed = { stage, id, task, sample, clock, signal, end, workspace, positions };
    const play: Play = { ...fixed, actions, judgeable: 0 };
    const answer = await answerOf(play);
    const trajectory = { ...path(), answer };
    await stage.onAnswer?.({ task, trajectory, files: workspace });
    return trajectory;
  } catch (error) {
    stage.stop.throwIfAborted();
    if (isOfTheRun(error)) throw error;
    return { ...path(), failure: failureOf(error, clock.deadline, stage.playTimeoutMs) };
  } finally {
    // An agent that was asked and not waited for is no part of the play any more.
    ended.abort();
    clock.stop();
  }
}

function playId({ scope }: Stage, task: Task, sample: number): string {
  return `${scope}/${task.id}/${sample}`;
}

function recordedPositions({ finished }: Stage, play: string): string[] {
  const positions: string[] = [];
  for (const { id, turn } of finished.values()) {
    if (id.startsWith(`${play}/`)) positions[turn] = id;
  }
  return positions;
}

/** Agents who act at the same time end in any order; what is recorded must not depend on it. */
function inOrder(actions: readonly Action[]): Action[] {
  return actions.toSorted((first, second) => first.turn - second.turn);
}

async function answerOf(play: Play): Promise<string> {
  const { team } = play.stage;
  const agents = agentNames(team).map((name) => [name, createAgent(play, name)] as const);
  // The play's own code knows nothing of the deadline, and may wait for something that never comes.
  const aborted = new Promise<never>((_, reject) => {
    play.signal.addEventListener('abort', () => reject(play.signal.reason), { once: true });
  });
  const answer: unknown = await Promise.race([
    team.play(play.task, Object.fromEntries(agents), createScene(play)),
    aborted,
  ]);
  if (typeof answer === 'string') return answer;
  throw new Error(`play of team ${team.name} must resolve to a text, got ${typeof answer}`);
}

function createScene(play: Play): Scene {
  const verdictOn = async ({ actions }: ActResult) => {
    const action = actions.at(-1);
    if (action === undefined) return undefined;
    const earlier = inOrder(play.actions).filter(({ turn }) => turn < action.turn);
    // How long the coach takes, and the line before it, are not the play's doing.
    const release = play.clock.hold();
    try {
      return await play.stage.verdictOn({ task: play.task, action, earlier });
    } finally {
      release();
    }
  };
  return {
    files: play.workspace,
    showFeedback: async (acted) => (await verdictOn(acted))?.words,
    showScore: async (acted) => (await verdictOn(acted))?.score,
  };
}

function createAgent(play: Play, name: string): Agent {
  const declaration = play.stage.team.agents[name] as AgentDeclaration;
  let conversation: Conversation | undefined;
  let asked = 0;

  async function act(message: string, options: ActOptions = {}): Promise<ActResult> {
    // Numbered when it is asked: which of several conversations comes first to its next turn is up to the clock.
    const call = `${name}.${asked++}`;
    const before = inOrder(play.actions).at(-1)?.id;
    const previous = options.continue ? conversation : undefined;
    let current = openConversation(play.stage, name, message, previous);
    const actions: Action[] = [];
    let toolOutput: string | undefined;
    const turns = Math.min(declaration.maxTurns ?? 1, options.maxTurns ?? Number.POSITIVE_INFINITY);
    for (let turn = 0; turn < turns; turn++) {
      const parent = actions.at(-1)?.id ?? before;
      const owner = ownerOfNext(play);
      const at = { id: `${owner}/${call}.${turn}`, owner, parent, observation: current.ids };
      const action = await takeAction(play, name, at);
      actions.push(action);
      current = afterAction(current, action);
      if (action.toolResults.length === 0) break;
      toolOutput = formatToolResults(action.toolResults);
      const reply: Message = { role: 'tool', content: toolOutput };
      current = extendConversation(tokenizerOf(play.stage, name), current, [reply]);
    }
    conversation = current;
    const text = actions.at(-1)?.text ?? '';
    return toolOutput === undefined ? { text, actions } : { text, actions, toolOutput };
  }

  return {
    act: (message, options) => {
      const acted = act(message, options);
      // Who forgets to wait for an agent must not end the process; who catches a failure of the run must not play on.
      acted.catch((error: unknown) => isOfTheRun(error) && play.end(error));
      return acted;
    },
  };
}

/** The play that samples the next action: this one, or in a tree the one that first came to it. */
function ownerOfNext({ stage, id, task, sample, actions }: Play): string {
  if (stage.branching === undefined) return id;
  return playId(stage, task, ownerOf(sample, actions.length, stage.branching));
}

function openConversation(
  stage: Stage,
  agent: string,
  message: string,
  previous: Conversation | undefined,
): Conversation {
  const asked: Message = { role: 'user', content: message };
  const tokenizer = tokenizerOf(stage, agent);
  if (previous) return extendConversation(tokenizer, previous, [asked]);
  const declaration = stage.team.agents[agent] as AgentDeclaration;
  const { instructions, tools } = tellOfTools(declaration, stage.tools, tokenizer.takesTools);
  const messages: Message[] = instructions
    ? [{ role: 'system', content: instructions }, asked]
    : [asked];
  const options = { addGenerationPrompt: true, ...(tools === undefined ? {} : { tools }) };
  return { messages, ids: tokenizer.encodeChat(messages, options) };
}

/** The sampled ids are kept as they are; only what the template adds for the new messages is tokenised. */
function extendConversation(
  tokenizer: Tokenizer,
  conversation: Conversation,
  added: readonly Message[],
): Conversation {
  const ids = tokenizer.extendChat(conversation, added);
  return { messages: [...conversation.messages, ...added], ids };
}

function afterAction(conversation: Conversation, action: Action): Conversation {
  const said: Message = { role: 'assistant', content: action.text };
  const ids = new Int32Array(action.observation.length + action.tokens.length);
  ids.set(action.observation);
  ids.set(action.tokens, action.observation.length);
  return { messages: [...conversation.messages, said], ids };
}

async function takeAction(
  play: Play,
  agent: string,
  at: {
    readonly id: string;
    readonly owner: string;
    readonly parent: string | undefined;
    readonly observation: Int32Array;
  },
): Promise<Action> {
  play.signal.throwIfAborted();
  const { id, parent, observation } = at;
  const finished = play.stage.finished.get(id);
  if (finished) return replayAction(play, finished, at);
  // Taken before waiting, so that agents who act at the same time get distinct ones.
  const turn = takePosition(play, id);
  refuseForkInTime(play, turn);
  const sampled = await sampleAction(play, agent, { id, observation });
  const observationText = tokenizerOf(play.stage, agent).decode(observation);
  const isThinking = observationText.trimEnd().endsWith('<think>');
  const declaration = play.stage.team.agents[agent] as AgentDeclaration;
  const said = { agent, ...sampled, isThinking, allowed: declaration.tools ?? [] };
  const where = { actionId: id, workspace: play.workspace, signal: play.signal };
  const outcome = await runTools(said, play.stage.tools, where);
  const action: Action = {
    id,
    ...(parent === undefined ? {} : { parent }),
    agent,
    role: declaration.role,
    turn,
    observation,
    observationText,
    ...sampled,
    ...outcome,
  };
  play.signal.throwIfAborted();
  play.stage.onAction(action);
  endAction(play, action);
  return action;
}

async function replayAction(
  play: Play,
  finished: Action,
  at: { readonly owner: string; readonly observation: Int32Array },
): Promise<Action> {
  refuseOtherObservation(finished, at.observation);
  play.positions[finished.turn] = finished.id;
  const hadChanges = finished.toolResults.some(({ files }) => files !== undefined);
  if (finished.toolResults.length > 0)
    await play.workspace.restore(finished.id, { hadChanges, owner: at.owner });
  endAction(play, finished);
  return finished;
}

/** Which action of a tree comes at a position must not be up to the clock. */
function refuseForkInTime({ stage, actions }: Play, turn: number): void {
  if (stage.branching === undefined || turn === actions.length) return;
  throw new BoundaryError(
    'config',
    `team ${stage.team.name} has agents that act at the same time: a tree branches only plays whose agents act one after another`,
  );
}

/** The first position that no action has. @throws Error when the play has taken all that it may */
function takePosition({ positions, stage }: Play, id: string): number {
  let turn = 0;
  while (positions[turn] !== undefined) turn++;
  if (turn >= stage.maxActions) {
    throw new Error(`wants more than ${stage.maxActions} actions (rollout.maxActions)`);
  }
  positions[turn] = id;
  return turn;
}

/** Adds an action to the play; those that now have no gap before them can be judged. */
function endAction(play: Play, action: Action): void {
  play.actions.push(action);
  const ended = inOrder(play.actions);
  for (
    let next = ended[play.judgeable];
    next?.turn === play.judgeable;
    next = ended[play.judgeable]
  ) {
    const earlier = ended.slice(0, play.judgeable++);
    play.stage.onJudgeable?.({ task: play.task, action: next, earlier });
  }
}

type SampledAction = Pick<
  Action,
  'policy' | 'seed' | 'tokens' | 'logprobs' | 'behaviourLogprobs' | 'text' | 'stop'
>;

async function sampleAction(
  play: Play,
  agent: string,
  at: { readonly id: string; readonly observation: Int32Array },
): Promise<SampledAction> {
  const { stage } = play;
  const tokenizer = tokenizerOf(stage, agent);
  const sampler = stage.samplers.get(agent) as Sampler;
  const seed = seedFor(stage.seed, at.id);
  const { maxTokens, stopStrings } = stage.team.agents[agent] as AgentDeclaration;
  const params: SampleParams = {
    ...stage.filters,
    maxTokens: Math.min(maxTokens, stage.maxActionTokens),
    temperature: stage.temperature,
    seed,
    stopTokens: tokenizer.eosTokenIds,
    ...(stopStrings && { stopStrings }),
  };
  const { version, ...sampled } = await sampler.sample(at.observation, params, {
    signal: play.signal,
    clock: play.clock,
  });
  const policy = { id: sampler.policyId ?? 'base', version };
  return { policy, seed, ...sampled, text: textOf(tokenizer, sampled.tokens) };
}

/** The one that the agent's model was trained with. */
function tokenizerOf({ tokenizer, ownTokenizers }: Stage, agent: string): Tokenizer {
  return ownTokenizers?.get(agent) ?? tokenizer;
}

/** Without the token that ended it; a stop string stays. */
function textOf(tokenizer: Tokenizer, tokens: Int32Array): string {
  const isEnded = tokenizer.eosTokenIds.includes(tokens.at(-1) ?? -1);
  return tokenizer.decode(isEnded ? tokens.subarray(0, -1) : tokens);
}
