import type { MethodChoice } from '../config/method-schema.ts';

/** The trees of a run of MALT, and what one of them takes at most: fully grown, every action positive, every pair there. */
export type TreeLoad = {
  readonly rounds: number;
  /** Of one round. */
  readonly questions: number;
  readonly stepsPerRound: number;
  readonly leaves: number;
  /** Sampled once each, however many plays share them. */
  readonly actions: number;
  readonly sampledTokens: number;
  /** Actions that go through the model for SFT and DPO, all epochs and the reference counted, and their own tokens. */
  readonly trainedActions: number;
  readonly trainedTokens: number;
};

/** How much an agent may say. */
type Limits = { readonly name: string; readonly maxTurns: number; readonly maxTokens: number };

type Level = { readonly agent: Limits; readonly ways: number; readonly nodes: number };

/** @param agents in the order in which they act */
export function treeLoadOf(
  method: Extract<MethodChoice, { kind: 'malt' }>,
  agents: readonly Limits[],
  tasks: number,
): TreeLoad {
  const levels = levelsOf(method, agents);
  const sum = (of: (level: Level) => number) => levels.reduce((all, level) => all + of(level), 0);
  const passes = passesOf(method, agents);
  return {
    rounds: method.rounds,
    questions: Math.min(method.questions ?? tasks, tasks),
    stepsPerRound: method.objective === 'sft-dpo' ? 2 : 1,
    leaves: levels.at(-1)?.nodes ?? 0,
    actions: sum(({ nodes }) => nodes),
    sampledTokens: sum(({ nodes, agent }) => nodes * agent.maxTokens),
    trainedActions: sum(passes),
    trainedTokens: sum((level) => passes(level) * level.agent.maxTokens),
  };
}

function levelsOf(
  { branching, leavesPerQuestion = Number.POSITIVE_INFINITY }: Parameters<typeof treeLoadOf>[0],
  agents: readonly Limits[],
): readonly Level[] {
  const turns = agents.flatMap((agent) => Array<Limits>(agent.maxTurns).fill(agent));
  let nodes = 1;
  return turns.map((agent, at) => {
    const ways =
      typeof branching === 'number' ? (at < agents.length ? branching : 1) : (branching[at] ?? 1);
    nodes = Math.min(nodes * ways, leavesPerQuestion);
    return { agent, ways, nodes };
  });
}

/** How many times actions of a level go through the model. */
function passesOf(
  { objective, sft, dpo, select }: Parameters<typeof treeLoadOf>[0],
  agents: readonly Limits[],
): (level: Level) => number {
  const capped = (count: number, most = Number.POSITIVE_INFINITY) => Math.min(count, most);
  const chosen = dpo.agents ?? agents.slice(1).map(({ name }) => name);
  // Forward and backward; the reference once.
  const ofPair = 2 * dpo.epochs + 2;
  return ({ agent, ways, nodes }) => {
    // Once, and once under the reference.
    if (objective === 'values') return 2 * nodes;
    const examples = sft.epochs * capped(nodes, select.examplesPerQuestion);
    if (objective === 'sft' || !chosen.includes(agent.name)) return examples;
    // Half of the siblings positive, half not, makes the most pairs.
    const pairs = Math.ceil(nodes / ways) * Math.floor(ways ** 2 / 4);
    return examples + ofPair * capped(pairs, select.pairsPerQuestion);
  };
}
